import { ChorusError } from '@chorus/protocol'

/** The answer when a session was revoked or ran out between the handshake or the hook and the command. */
export function sessionIsOver(): ChorusError {
  return new ChorusError('unauthenticated', 'unable to answer; the session is over')
}
