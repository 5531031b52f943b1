import type { CommandHandler } from './command.ts'
import { requireMember } from './is-member.ts'

export const listLiveValues: CommandHandler<'list-live-values'> = async (context, { conversation }) => {
  await requireMember(context, conversation, 'list the live values')
  return { values: context.parts.liveValues.list(conversation) }
}
