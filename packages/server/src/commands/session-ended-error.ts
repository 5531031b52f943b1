import { ChorusError } from '@chorus/protocol'

/**
 * Returns the error for a session that was revoked or expired between its authentication and the
 * command.
 */
export function sessionEndedError(): ChorusError {
  return new ChorusError('unauthenticated', 'unable to answer; the session is over')
}
