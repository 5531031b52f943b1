/**
 * Signs a user in under a new session id. The response and its time are the same for an unknown
 * handle and a wrong password. Attempts are counted by account and by address before the account is
 * looked up.
 */
import { ChorusError } from '@chorus/protocol'
import { readSession } from '../../accounts/sessions.ts'
import { findCredentials } from '../../accounts/users.ts'
import { afterStored } from '../after-stored.ts'
import type { CommandContext, Command, CookieJar } from '../command.ts'

/** Returns access to the request's session cookie. Throws over Socket.IO, which has no cookies. */
export function cookiesOf({ cookies }: CommandContext): CookieJar {
  if (cookies === undefined) throw new ChorusError('invalid', 'unable to sign in; use an HTTP request with cookies')
  return cookies
}

export const signIn: Command<'sign-in'> = {
  cost: { budget: 'none' },
  run: async (context, { handle, password }) => {
    const { database, limits, passwords } = context.parts
    const cookies = cookiesOf(context)
    await limits.takeSignIn(handle, context.address)
    const found = await findCredentials(database, handle)
    const isRight = await passwords.verify(found?.passwordHash, password)
    if (found === undefined || !isRight) {
      throw new ChorusError('unauthenticated', 'unable to sign in; the handle or the password is wrong')
    }
    limits.noteSignedIn(handle, context.address)
    const { sessionId } = await cookies.signIn(found.user.id)
    // If the session was revoked in the meantime, this read finds nothing and the response is
    // `unknown`.
    const session = await afterStored('sign in', () => readSession(database, sessionId))
    return { user: found.user, session: { ...session, current: true } }
  },
}
