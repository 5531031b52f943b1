/** Errors of Redis, and which of them are permanent: waiting cannot fix a permanent error. */

/** Error of a failed command: Redis did not run it, or did not confirm it. */
export class RedisError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'RedisError'
  }
}

/** Returns the reason of a permanent error, or undefined for an error that may pass. */
export function lastingReasonOf(error: unknown): string | undefined {
  const reason = reasonOf(error)
  if (/DB index is out of range/.test(reason)) return 'it has no database with that number'
  if (/^(NOAUTH|WRONGPASS|NOPERM|ERR AUTH)|without any password configured/.test(reason)) return reason
  if (/certificate|SSL|TLS|wrong version number|packet length|altname/i.test(reason)) return `TLS failed (${reason})`
  if (
    /^ERR|unknown command|protocol|Unknown RESP type|unexpected/i.test(reason) &&
    !/closed unexpectedly/i.test(reason)
  )
    return `it does not answer like Redis 7 or later (${reason})`
  return undefined
}

/** Returns the message of an error, or of the first error if there are several. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  return error instanceof Error ? error.message : String(error)
}
