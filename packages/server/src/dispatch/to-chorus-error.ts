/**
 * Turns any error into an entry of the error catalogue, the same on every transport. After an
 * unexpected error, the client learns only whether its request may have been carried out (rule
 * ACK2); the details go to the log.
 */
import { ChorusError } from '@chorus/protocol'
import { DatabaseError } from '../database/database-errors.ts'

const retryAfterMs = 1_000

/**
 * Returns the error for the client. `changes`: whether the request changes something, so that after
 * an unexpected error it may have been carried out.
 */
export function toChorusError(error: unknown, changes: boolean, onUnexpected: (error: unknown) => void): ChorusError {
  if (error instanceof ChorusError) return error
  if (error instanceof DatabaseError) return fromDatabaseError(error, changes, onUnexpected)
  const known = fromHttpError(error)
  if (known !== undefined) return known
  onUnexpected(error)
  return afterUnexpected(changes)
}

function afterUnexpected(changes: boolean): ChorusError {
  return changes
    ? new ChorusError('unknown', 'unable to tell if it was done; the server had an error', { retryAfterMs })
    : new ChorusError('unavailable', 'unable to answer; the server had an error', { retryAfterMs })
}

function fromDatabaseError(
  error: DatabaseError,
  changes: boolean,
  onUnexpected: (error: unknown) => void,
): ChorusError {
  const options = { retryAfterMs, cause: error }
  switch (error.kind) {
    case 'lost':
      if (changes)
        return new ChorusError('unknown', 'unable to tell if it was done; the database connection was lost', options)
      return new ChorusError('unavailable', 'unable to answer; the database connection was lost', options)
    case 'refused':
    case 'retryable':
      return new ChorusError('unavailable', 'unable to answer; the database is unavailable right now', options)
    case 'data':
      onUnexpected(error)
      return new ChorusError('invalid', 'unable to answer; the database rejected these values', { cause: error })
    case 'bug':
      onUnexpected(error)
      return afterUnexpected(changes)
  }
}

/**
 * Converts Fastify's own errors: a body that is too large, of another type or cut short, or an
 * unreadable URL.
 */
function fromHttpError(error: unknown): ChorusError | undefined {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return undefined
  const { statusCode } = error
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return undefined
  switch (statusCode) {
    case 404:
    case 405:
      return new ChorusError('not-found', 'unable to answer; there is nothing at this address')
    case 413:
      return new ChorusError('too-large', 'unable to answer; the request is too large')
    case 415:
      return new ChorusError('unsupported', 'unable to answer; the body must be application/json')
    default:
      return new ChorusError('invalid', 'unable to answer; the request cannot be read')
  }
}
