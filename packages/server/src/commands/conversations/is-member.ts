/**
 * Refuses the command unless the caller is a member right now (rule ACL3). A subscribed connection
 * belongs to a member as far as this server knows; for every other caller the database is asked.
 */
import { readConversation } from '../../log/read-conversations.ts'
import type { CommandContext } from '../command.ts'
import { refuse } from '../refuse.ts'

export async function requireMember(
  { parts, actor, connection }: CommandContext,
  conversation: string,
  what: string,
): Promise<void> {
  if (connection?.conversations.has(conversation) === true) return
  const seen = await readConversation(parts.database, actor.userId, conversation)
  if (seen === undefined || seen.role === null) throw refuse('not-found', what)
}
