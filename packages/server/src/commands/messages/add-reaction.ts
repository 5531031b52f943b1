import { changeReaction } from './change-reaction.ts'
import type { Command } from '../command.ts'

export const addReaction: Command<'add-reaction'> = {
  cost: { budget: 'sends' },
  run: (context, input) => changeReaction(context, 'react', input),
}
