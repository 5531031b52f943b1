/** Lists the users with an external id, in the order of their creation. */
import { ChorusError } from '@chorus/protocol'
import { listExternalUsers as list } from '../../accounts/external-users.ts'
import { decodePageToken, encodePageToken } from '../../log/cursor.ts'
import type { Command } from '../command.ts'

export const listExternalUsers: Command<'list-external-users'> = {
  cost: { budget: 'key', answer: (result) => result },
  run: async ({ parts: { database } }, { limit, page }) => {
    const token = page === undefined ? undefined : decodePageToken(page, ['id'])
    if (page !== undefined && token === undefined)
      throw new ChorusError('invalid', 'unable to list users; page is not a page token of this list')
    const found = await list(database, token?.[0], limit + 1)
    const users = found.slice(0, limit)
    const last = users.at(-1)
    return found.length > limit && last !== undefined ? { users, next: encodePageToken([last.id]) } : { users }
  },
}
