import { ChorusError } from '@chorus/protocol'
import { decodePageToken, encodePageToken } from '../../log/cursor.ts'
import { readConversations } from '../../log/read-conversations.ts'
import type { Command } from '../command.ts'

export const listConversations: Command<'list-conversations'> = {
  cost: { budget: 'requests', answer: (result) => result },
  run: async ({ parts, actor }, { limit, page }) => {
    const from = page === undefined ? undefined : readToken(page)
    const { conversations, next } = await readConversations(parts.database, actor.userId, limit, from)
    return next === undefined ? { conversations } : { conversations, next: encodePageToken([next.xid, next.id]) }
  },
}

function readToken(page: string): { xid: string; id: string } {
  const token = decodePageToken(page, ['xid', 'id'])
  if (token === undefined) {
    throw new ChorusError('invalid', 'unable to list the conversations; page is not a page token of this list')
  }
  const [xid, id] = token
  return { xid, id }
}
