/**
 * The error catalogue of all transports. A code names the error, `retry` says whether a retry can
 * help, and every message has the form `unable to X; Y`.
 */
export type Retry = 'never' | 'later'

interface CatalogueEntry {
  readonly status: number
  readonly retry: Retry
  readonly title: string
}

export const errorCatalogue = {
  invalid: { status: 400, retry: 'never', title: 'The request is malformed' },
  unauthenticated: { status: 401, retry: 'never', title: 'No valid session' },
  forbidden: { status: 403, retry: 'never', title: 'Not allowed' },
  'not-found': { status: 404, retry: 'never', title: 'Does not exist, or is hidden from the caller' },
  conflict: { status: 409, retry: 'never', title: 'Conflicts with stored data' },
  stale: { status: 409, retry: 'never', title: 'Based on something that has changed; nothing was stored' },
  'too-large': { status: 413, retry: 'never', title: 'Exceeds a limit' },
  unsupported: { status: 415, retry: 'never', title: 'Not JSON' },
  'rate-limited': { status: 429, retry: 'later', title: 'Too many requests' },
  unavailable: { status: 503, retry: 'later', title: 'Unavailable; the request had no effect' },
  unknown: { status: 504, retry: 'later', title: 'Outcome unknown; the request may have had an effect' },
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof errorCatalogue

/** Error in a Socket.IO acknowledgement of a refused command. */
export interface ErrorBody {
  readonly code: ErrorCode
  /** `unable to X; Y` */
  readonly message: string
  readonly retry: Retry
  /** Minimum time to wait before the next attempt. */
  readonly retryAfterMs?: number
  /** State that the request did not know. Set only for `stale`. */
  readonly current?: unknown
}

/** Error body of an HTTP response (RFC 9457, `application/problem+json`). */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode
  readonly retry: Retry
  /** State that the request did not know. Set only for `stale`. */
  readonly current?: unknown
}

export interface ChorusErrorOptions {
  readonly retryAfterMs?: number
  readonly current?: unknown
  readonly cause?: unknown
}

/**
 * The only kind of error that clients receive: an error code and a sentence. The cause appears only
 * in the server's log.
 */
export class ChorusError extends Error {
  readonly code: ErrorCode
  readonly retryAfterMs: number | undefined
  readonly current: unknown

  constructor(code: ErrorCode, message: string, options: ChorusErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ChorusError'
    this.code = code
    this.retryAfterMs = options.retryAfterMs
    this.current = options.current
  }

  get retry(): Retry {
    return errorCatalogue[this.code].retry
  }

  get status(): number {
    return errorCatalogue[this.code].status
  }

  toBody(): ErrorBody {
    return {
      code: this.code,
      message: this.message,
      retry: this.retry,
      ...(this.retryAfterMs !== undefined && { retryAfterMs: this.retryAfterMs }),
      ...(this.current !== undefined && { current: this.current }),
    }
  }

  toProblem(): Problem {
    const { title, status, retry } = errorCatalogue[this.code]
    const problem = { title, status, detail: this.message, code: this.code, retry }
    return {
      type: `urn:chorus:error:${this.code}`,
      ...problem,
      ...(this.current !== undefined && { current: this.current }),
    }
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorCatalogue, value)
}
