/** Renames a group or channel. */
import { readConversation } from '../store/read-conversations.ts'
import { encodeChange } from '../support/logged-change.ts'
import type { CommandHandler } from './command.ts'
import { refuse } from './refuse.ts'

const what = 'rename the conversation'

export const updateConversation: CommandHandler<'update-conversation'> = async (
  { parts, actor },
  { conversation: id, name },
) => {
  const { outcome, seq, at, xid } = await parts.log.apply({ op: 'rename', conversation: id, actor: actor.userId, name })
  if (outcome !== 'stored' && outcome !== 'unchanged') throw refuse(outcome, what)
  const conversation = await readConversation(parts.database, actor.userId, id)
  if (conversation === undefined) throw refuse('not-found', what)
  if (outcome === 'stored') {
    const facts = { id, kind: conversation.kind, name }
    parts.feeds.announce([
      encodeChange(id, xid, { seq, at, actor: actor.userId, type: 'conversation.updated', conversation: facts }),
    ])
  }
  return { conversation }
}
