import { ChorusError } from '@chorus/protocol'
import { decodePageToken, encodePageToken } from '../../log/cursor.ts'
import { readMembers } from '../../log/read-conversations.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

export const listMembers: Command<'list-members'> = {
  cost: { budget: 'requests', answer: (result) => result },
  run: async ({ parts, actor }, { conversation, limit, page }) => {
    const members = await readMembers(
      parts.database,
      actor.userId,
      conversation,
      limit + 1,
      page === undefined ? 0 : readToken(page),
    )
    if (members === undefined) throw refuse('not-found', 'list the members')
    const shown = members.slice(0, limit)
    const last = shown.at(-1)
    return members.length > limit && last !== undefined
      ? { members: shown, next: encodePageToken([last.joinedSeq]) }
      : { members: shown }
  },
}

function readToken(page: string): number {
  const token = decodePageToken(page, ['seq'])
  if (token === undefined) {
    throw new ChorusError('invalid', 'unable to list the members; page is not a page token of this list')
  }
  return token[0]
}
