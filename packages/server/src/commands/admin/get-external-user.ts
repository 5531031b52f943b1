/** Returns a user by the external id, also while the user is deactivated or being erased. */
import { ChorusError } from '@chorus/protocol'
import { readExternalUsers } from '../../accounts/external-users.ts'
import type { Command } from '../command.ts'

export const getExternalUser: Command<'get-external-user'> = {
  cost: { budget: 'key' },
  run: async ({ parts: { database } }, { externalId }) => {
    const [user] = await readExternalUsers(database, [externalId])
    if (user === undefined)
      throw new ChorusError('not-found', 'unable to show user; there is none with this externalId')
    return { user }
  },
}
