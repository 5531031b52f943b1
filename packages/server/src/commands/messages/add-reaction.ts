import { changeReaction } from './change-reaction.ts'
import type { CommandHandler } from '../command.ts'

export const addReaction: CommandHandler<'add-reaction'> = (context, input) => changeReaction(context, 'react', input)
