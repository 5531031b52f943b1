/**
 * Signs out one of the caller's devices, the current one included (rule ACL2). A session of another
 * user is answered as not found.
 */
import { ChorusError } from '@chorus/protocol'
import { revokeSession as revoke } from '../../accounts/sessions.ts'
import type { CommandHandler } from '../command.ts'

export const revokeSession: CommandHandler<'revoke-session'> = async ({ parts, actor, cookies }, { id }) => {
  if (!(await revoke(parts.database, actor.userId, id))) {
    throw new ChorusError('not-found', 'unable to revoke session; there is none with this id')
  }
  parts.announceRevoked([id])
  if (id === actor.sessionId) await cookies?.signOut()
  return null
}
