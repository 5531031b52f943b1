import { readConversation } from '../../log/read-conversations.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

export const getConversation: Command<'get-conversation'> = {
  cost: { budget: 'requests' },
  run: async ({ parts, actor }, { conversation: id }) => {
    const conversation = await readConversation(parts.database, actor.userId, id)
    if (conversation === undefined) throw refuse('not-found', 'show the conversation')
    return { conversation }
  },
}
