import { changeReaction } from './change-reaction.ts'
import type { Command } from '../command.ts'

export const removeReaction: Command<'remove-reaction'> = {
  cost: { budget: 'sends' },
  run: (context, input) => changeReaction(context, 'unreact', input),
}
