/** Erases a message's text in place, leaving a tombstone, and logs that it was deleted. */
import { changeMessage } from './change-message.ts'
import type { Command } from '../command.ts'

export const deleteMessage: Command<'delete-message'> = {
  cost: { budget: 'sends' },
  run: ({ parts, actor }, { conversation, seq: target }) =>
    changeMessage(parts, 'message.deleted', { op: 'delete', conversation, actor: actor.userId, target }),
}
