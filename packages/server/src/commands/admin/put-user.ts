/** Creates or updates a user by its external id. */
import { ChorusError } from '@chorus/protocol'
import { putExternalUsers } from '../../accounts/external-users.ts'
import type { Command } from '../command.ts'
import { endDeactivated, refusalOfPut, requireAdminToDeactivate } from './put-outcome.ts'

export const putUser: Command<'put-user'> = {
  cost: { budget: 'key' },
  run: async ({ parts, key }, profile) => {
    requireAdminToDeactivate(key, [profile])
    const [outcome] = await putExternalUsers(parts.database, [profile])
    await endDeactivated(parts, [outcome])
    if (outcome === undefined) throw new ChorusError('unknown', 'unable to tell if the user was put')
    switch (outcome.kind) {
      case 'created':
        return { user: outcome.user }
      case 'updated':
        return { user: outcome.user, duplicate: true }
      case 'handle-taken':
      case 'erasing':
        throw refusalOfPut(outcome.kind)
    }
  },
}
