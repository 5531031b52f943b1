/**
 * Revokes the caller's session, clears its cookie and closes its connections on every server (rule
 * ACL2).
 */
import { revokeSession } from '../../accounts/sessions.ts'
import type { Command } from '../command.ts'

export const signOut: Command<'sign-out'> = {
  cost: { budget: 'requests' },
  run: async ({ parts, actor, cookies }) => {
    await revokeSession(parts.database, actor.userId, actor.sessionId)
    parts.announceRevoked([actor.sessionId])
    await cookies?.signOut()
    return null
  },
}
