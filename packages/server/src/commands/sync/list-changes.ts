import { readChangesForMember } from '../../log/read-changes.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

export const listChanges: Command<'list-changes'> = {
  cost: { budget: 'requests', answer: (result) => result },
  run: async ({ parts, actor }, { conversation, after, limit }) => {
    const page = await readChangesForMember(parts.database, actor.userId, conversation, after, limit)
    if (page === undefined) throw refuse('not-found', 'show the changes')
    return page
  },
}
