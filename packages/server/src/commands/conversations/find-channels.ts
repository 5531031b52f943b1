import { findChannels as find } from '../../log/read-conversations.ts'
import type { CommandHandler } from '../command.ts'

export const findChannels: CommandHandler<'find-channels'> = async ({ parts, actor }, { q, limit }) => ({
  conversations: await find(parts.database, actor.userId, q ?? '', limit),
})
