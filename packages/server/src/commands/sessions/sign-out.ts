/**
 * Revokes the caller's session, clears its cookie and closes its connections on every server (rule
 * ACL2).
 */
import { revokeSession } from '../../accounts/sessions.ts'
import type { Command } from '../command.ts'
import { requireSession } from '../require-session.ts'

export const signOut: Command<'sign-out'> = {
  cost: { budget: 'requests' },
  run: async ({ parts, actor, cookies }) => {
    const sessionId = requireSession(actor)
    await revokeSession(parts.database, actor.userId, sessionId)
    parts.announceRevoked([sessionId])
    await cookies?.signOut()
    return null
  },
}
