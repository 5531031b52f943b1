import { type PageAnchor, readMessagePage } from '../../log/read-messages.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

export const listMessages: Command<'list-messages'> = {
  cost: { budget: 'requests', answer: (result) => result },
  run: async ({ parts, actor }, { conversation, before, after, around, limit }) => {
    const anchor = toAnchor(before, after, around)
    const page =
      anchor.kind === 'newest'
        ? await parts.catchUp.newestMessages(actor.userId, conversation, limit)
        : await readMessagePage(parts.database, actor.userId, conversation, anchor, limit)
    if (page === undefined) throw refuse('not-found', 'show the history')
    return page
  },
}

function toAnchor(before: number | undefined, after: number | undefined, around: number | undefined): PageAnchor {
  if (before !== undefined) return { kind: 'before', seq: before }
  if (after !== undefined) return { kind: 'after', seq: after }
  if (around !== undefined) return { kind: 'around', seq: around }
  return { kind: 'newest' }
}
