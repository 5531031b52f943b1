/** Erases a message's text in place, leaving a tombstone, and logs that it was deleted. */
import { announceMessageChange } from './change-message.ts'
import type { CommandHandler } from '../command.ts'

export const deleteMessage: CommandHandler<'delete-message'> = async (
  { parts, actor },
  { conversation, seq: target },
) => {
  const appended = await parts.log.apply({ op: 'delete', conversation, actor: actor.userId, target })
  return announceMessageChange(parts, { type: 'message.deleted', conversation, actor: actor.userId, target }, appended)
}
