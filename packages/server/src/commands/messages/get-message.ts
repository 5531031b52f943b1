import { readMessage } from '../../log/read-messages.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

export const getMessage: Command<'get-message'> = {
  cost: { budget: 'requests' },
  run: async ({ parts, actor }, { conversation, seq }) => {
    const message = await readMessage(parts.database, actor.userId, conversation, seq)
    if (message === undefined) throw refuse('not-found', 'show the message')
    return { message }
  },
}
