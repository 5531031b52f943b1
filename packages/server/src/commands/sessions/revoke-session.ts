/**
 * Signs out one of the caller's devices, possibly the current one (rule ACL2). For a session of
 * another user the answer is "not found".
 */
import { ChorusError } from '@chorus/protocol'
import { revokeSession as revoke } from '../../accounts/sessions.ts'
import { smallWrite } from '../command-cost.ts'
import type { Command } from '../command.ts'

export const revokeSession: Command<'revoke-session'> = {
  cost: { budget: 'requests', requests: smallWrite },
  run: async ({ parts, actor, cookies }, { id }) => {
    if (!(await revoke(parts.database, actor.userId, id))) {
      throw new ChorusError('not-found', 'unable to revoke session; there is none with this id')
    }
    parts.announceRevoked([id])
    if (id === actor.sessionId) await cookies?.signOut()
    return null
  },
}
