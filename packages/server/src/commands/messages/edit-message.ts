/** Replaces the text of one of the caller's messages and logs the edit. */
import { changeMessage } from './change-message.ts'
import type { Command } from '../command.ts'

export const editMessage: Command<'edit-message'> = {
  cost: { budget: 'sends' },
  run: ({ parts, actor }, { conversation, seq: target, text }) =>
    changeMessage(parts, 'message.edited', { op: 'edit', conversation, actor: actor.userId, target, text }),
}
