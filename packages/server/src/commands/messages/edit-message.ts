/** Replaces the text of one of the caller's messages in place and logs the edit. */
import { announceMessageChange } from './change-message.ts'
import type { CommandHandler } from '../command.ts'

export const editMessage: CommandHandler<'edit-message'> = async (
  { parts, actor },
  { conversation, seq: target, text },
) => {
  const appended = await parts.log.apply({ op: 'edit', conversation, actor: actor.userId, target, text })
  return announceMessageChange(parts, { type: 'message.edited', conversation, actor: actor.userId, target }, appended)
}
