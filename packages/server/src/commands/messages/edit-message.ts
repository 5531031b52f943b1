/**
 * Replaces the text of one of the caller's messages and logs the edit. Asks the pre-send hook first
 * if there is one (rule HOOK1).
 */
import { changeMessage } from './change-message.ts'
import { checkEdit } from './check-with-hook.ts'
import type { Command } from '../command.ts'

export const editMessage: Command<'edit-message'> = {
  cost: { budget: 'sends' },
  run: (context, { conversation, seq: target, text }) => {
    const edit = { conversation, actor: context.actor.userId, target, text }
    return checkEdit(context, edit, (checked) =>
      changeMessage(context.parts, 'message.edited', { op: 'edit', ...edit, text: checked }),
    )
  },
}
