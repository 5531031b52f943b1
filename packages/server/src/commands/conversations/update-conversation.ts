/** Renames a group or channel. */
import { foldNameOf } from '../../accounts/fold-names.ts'
import { readConversation } from '../../log/read-conversations.ts'
import { encodeChange } from '../../support/logged-change.ts'
import { afterStored } from '../after-stored.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

const what = 'rename the conversation'

export const updateConversation: Command<'update-conversation'> = {
  cost: { budget: 'sends' },
  run: async ({ parts, actor }, { conversation: id, name }) => {
    const { outcome, seq, at, xid, detail } = await parts.log.apply({
      op: 'rename',
      conversation: id,
      actor: actor.userId,
      name,
    })
    if (outcome !== 'stored' && outcome !== 'unchanged') throw refuse(outcome, what)
    if (outcome === 'stored') {
      if (detail?.kind === 'channel') await foldNameOf(parts.database, id, name)
      const facts = { id, kind: detail?.kind ?? 'group', name }
      parts.feeds.announce([
        encodeChange(id, xid, { seq, at, actor: actor.userId, type: 'conversation.updated', conversation: facts }),
      ])
    }
    // Read the conversation even if this attempt changed nothing: an earlier attempt of this
    // request that lost its connection may have stored the name.
    return { conversation: await afterStored(what, () => readConversation(parts.database, actor.userId, id)) }
  },
}
