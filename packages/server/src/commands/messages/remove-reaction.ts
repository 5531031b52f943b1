import { changeReaction } from './change-reaction.ts'
import type { CommandHandler } from '../command.ts'

export const removeReaction: CommandHandler<'remove-reaction'> = (context, input) =>
  changeReaction(context, 'unreact', input)
