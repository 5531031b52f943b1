/**
 * Finds users by ids, or by the beginning of their handle or name, ignoring case. Unknown ids are
 * left out of the result.
 */
import { ChorusError } from '@chorus/protocol'
import { findUsersByPrefix, readUsers } from '../../accounts/users.ts'
import type { CommandHandler } from '../command.ts'

export const findUsers: CommandHandler<'find-users'> = async ({ parts: { database } }, { q, ids, limit }) => {
  if (ids === undefined) return { users: await findUsersByPrefix(database, q ?? '', limit) }
  if (q !== undefined) throw new ChorusError('invalid', 'unable to find users; use only one of q and ids')
  return { users: await readUsers(database, ids) }
}
