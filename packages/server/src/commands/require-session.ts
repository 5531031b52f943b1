import { ChorusError, type Id } from '@chorus/protocol'
import type { Actor } from './command.ts'

/** Returns the session of the caller. Throws if a user token without a device has none. */
export function requireSession({ sessionId }: Actor): Id {
  if (sessionId === '')
    throw new ChorusError('invalid', 'unable to answer; the request has no session: send the header Chorus-Device')
  return sessionId
}
