import { ChorusError } from '@chorus/protocol'

/**
 * Returns the error for a session that was revoked or expired after its authentication and before
 * the command ran.
 */
export function sessionEndedError(): ChorusError {
  return new ChorusError('unauthenticated', 'unable to answer; the session is over')
}
