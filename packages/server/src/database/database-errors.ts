/**
 * Classifies database errors and decides whether a statement is retried. Only this module does so.
 *
 * - data: the values of the statement are wrong, and the same statement would fail again. Certainly
 * not executed.
 * - retryable: a temporary conflict (serialization, deadlock, lock timeout). Certainly not
 * executed; retry.
 * - refused: the database certainly did nothing (not reached, starting up, read-only, disk full).
 * - lost: the connection was lost, or time ran out, while the statement ran. It may have been
 * executed.
 * - bug: any other error.
 */
export type DatabaseErrorKind = 'data' | 'retryable' | 'refused' | 'lost' | 'bug'

export class DatabaseError extends Error {
  readonly kind: DatabaseErrorKind
  readonly sqlState: string | undefined
  readonly constraint: string | undefined

  constructor(kind: DatabaseErrorKind, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.name = 'DatabaseError'
    this.kind = kind
    this.sqlState = stringProperty(cause, 'code')
    this.constraint = stringProperty(cause, 'constraint')
  }
}

function stringProperty(value: unknown, key: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const found = (value as Record<string, unknown>)[key]
  return typeof found === 'string' ? found : undefined
}

/**
 * Classifies an error of the driver. `wasSent`: the statement had been passed to an open
 * connection.
 */
export function classifyDatabaseError(error: unknown, wasSent: boolean): DatabaseError {
  if (error instanceof DatabaseError) return error
  const code = stringProperty(error, 'code')
  if (code !== undefined && /^[0-9A-Z]{5}$/.test(code)) {
    return new DatabaseError(kindOfSqlState(code, wasSent), error)
  }
  // An error without an SQLSTATE is the driver's own (connection refused, terminated, query
  // timeout).
  return new DatabaseError(wasSent && !neverConnected(error, code) ? 'lost' : 'refused', error)
}

/**
 * Returns true when the pool failed to open a connection. Then no statement was sent, whatever the
 * caller passes as `wasSent`.
 */
function neverConnected(error: unknown, code: string | undefined): boolean {
  if (code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'ENOTFOUND' || code === 'EHOSTUNREACH') return true
  return (
    error instanceof Error &&
    /timeout (?:exceeded when trying to connect|expired)|due to connection timeout/.test(error.message)
  )
}

function kindOfSqlState(code: string, wasSent: boolean): DatabaseErrorKind {
  if (code === '40001' || code === '40P01' || code === '55P03') return 'retryable'
  if (code === '57P03' || code === '25006' || code === '25007') return 'refused'
  // The statement was cancelled or its backend terminated while it ran. It may have been committed
  // just before that.
  if (code === '57P01' || code === '57P02' || code === '57014' || code.startsWith('08'))
    return wasSent ? 'lost' : 'refused'
  switch (code.slice(0, 2)) {
    case '22':
    case '23':
      return 'data'
    case '53':
    case '58':
      return 'refused'
    default:
      return 'bug'
  }
}

/**
 * Retry limits of reads. `totalMaxMs` covers all attempts together, because a caller waits for
 * them.
 */
export const readRetry = { attemptsMax: 4, pauseMs: 100, totalMaxMs: 4_000 } as const

/**
 * Returns whether a *read* is retried after this error. A read that timed out is not retried: it
 * would take as long again.
 */
export function isReadWorthRetrying(error: DatabaseError): boolean {
  switch (error.kind) {
    case 'lost':
      return error.sqlState !== '57014'
    case 'retryable':
    case 'refused':
      return true
    case 'data':
    case 'bug':
      return false
  }
}
