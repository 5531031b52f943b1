/** Returns the profile of one user. */
import { ChorusError } from '@chorus/protocol'
import { readUsers } from '../../accounts/users.ts'
import type { Command } from '../command.ts'

export const getUser: Command<'get-user'> = {
  cost: { budget: 'requests' },
  run: async ({ parts: { database } }, { id }) => {
    const [user] = await readUsers(database, [id])
    if (user === undefined) throw new ChorusError('not-found', 'unable to show user; there is none with this id')
    return { user }
  },
}
