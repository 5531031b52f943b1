import { findChannels as find } from '../../log/read-conversations.ts'
import { search } from '../command-cost.ts'
import type { Command } from '../command.ts'

export const findChannels: Command<'find-channels'> = {
  cost: { budget: 'requests', requests: search },
  run: async ({ parts, actor }, { q, limit }) => ({
    conversations: await find(parts.database, actor.userId, q ?? '', limit),
  }),
}
