/**
 * Begins the erasure of a user and ends the user's sessions (rules ERASE2, ACL2). The erasure
 * worker does the rest. A repeated call changes nothing, during the erasure and after it.
 */
import { ChorusError } from '@chorus/protocol'
import { revokeSessionsOf } from '../../accounts/external-users.ts'
import { beginErasure } from '../../erasure/erasure-store.ts'
import type { Command } from '../command.ts'

export const deleteUser: Command<'delete-user'> = {
  cost: { budget: 'key' },
  run: async ({ parts: { database, announceRevoked } }, { externalId }) => {
    const begun = await beginErasure(database, externalId)
    switch (begun.kind) {
      case 'begun':
        await revokeSessionsOf(database, [begun.user], announceRevoked)
        return null
      case 'erased':
        return null
      case 'unknown':
        throw new ChorusError('not-found', 'unable to erase user; there is none with this externalId')
    }
  },
}
