/**
 * Finds users by their ids, or by the beginning of their handle or name, ignoring case. Unknown ids
 * are left out of the result.
 */
import { ChorusError } from '@chorus/protocol'
import { findUsersByPrefix, readUsers } from '../../accounts/users.ts'
import { search } from '../command-cost.ts'
import type { Command } from '../command.ts'

export const findUsers: Command<'find-users'> = {
  cost: { budget: 'requests', requests: search },
  run: async ({ parts: { database } }, { q, ids, limit }) => {
    if (ids === undefined) return { users: await findUsersByPrefix(database, q ?? '', limit) }
    if (q !== undefined) throw new ChorusError('invalid', 'unable to find users; use only one of q and ids')
    return { users: await readUsers(database, ids) }
  },
}
