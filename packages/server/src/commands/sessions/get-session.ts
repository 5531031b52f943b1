/** Returns the caller's user and session. */
import { readSession } from '../../accounts/sessions.ts'
import { readUsers } from '../../accounts/users.ts'
import type { Command } from '../command.ts'
import { requireSession } from '../require-session.ts'
import { sessionEndedError } from '../session-ended-error.ts'

export const getSession: Command<'get-session'> = {
  cost: { budget: 'requests' },
  run: async ({ parts: { database }, actor }) => {
    const sessionId = requireSession(actor)
    const [users, session] = await Promise.all([readUsers(database, [actor.userId]), readSession(database, sessionId)])
    const [user] = users
    if (user === undefined || session === undefined) throw sessionEndedError()
    return { user, session: { ...session, current: true } }
  },
}
