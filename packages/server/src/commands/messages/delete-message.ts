/**
 * Deletes a message: erases its text, keeps an empty message in its place, and logs the deletion.
 */
import { changeMessage } from './change-message.ts'
import type { Command } from '../command.ts'

export const deleteMessage: Command<'delete-message'> = {
  cost: { budget: 'sends' },
  run: ({ parts, actor }, { conversation, seq: target }) =>
    changeMessage(parts, 'message.deleted', { op: 'delete', conversation, actor: actor.userId, target }),
}
