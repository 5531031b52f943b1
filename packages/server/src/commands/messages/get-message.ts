import { readMessage } from '../../log/read-messages.ts'
import type { CommandHandler } from '../command.ts'
import { refuse } from '../refuse.ts'

export const getMessage: CommandHandler<'get-message'> = async ({ parts, actor }, { conversation, seq }) => {
  const message = await readMessage(parts.database, actor.userId, conversation, seq)
  if (message === undefined) throw refuse('not-found', 'show the message')
  return { message }
}
