/**
 * Returns the live values (short-lived data such as "is typing") of a conversation from all
 * servers. Values of former members are left out (rule ACL1).
 */
import { readMembersAmong } from '../../log/read-sharing.ts'
import type { Command } from '../command.ts'
import { requireMember } from '../conversations/is-member.ts'

export const listLiveValues: Command<'list-live-values'> = {
  cost: { budget: 'requests', answer: (result) => result },
  run: async (context, { conversation }) => {
    await requireMember(context, conversation, 'list the live values')
    const values = await context.parts.liveValues.read(conversation)
    const users = [...new Set(values.map(({ user }) => user))]
    if (users.length === 0) return { values }
    const members = await readMembersAmong(context.parts.database, conversation, users)
    return { values: values.filter(({ user }) => members.has(user)) }
  },
}
