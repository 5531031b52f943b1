/**
 * Creates a conversation. Two users have at most one direct conversation: creating it again returns
 * the existing one. A repeated `clientId` also returns the existing conversation (rule IDEM2).
 * Adding strangers (users without a common conversation) is limited, except for API keys (rule
 * ADD1).
 */
import { ChorusError } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { foldNameOf } from '../../accounts/fold-names.ts'
import { readConversation } from '../../log/read-conversations.ts'
import { readStrangersOfCreation } from '../../log/read-strangers.ts'
import { afterStored } from '../after-stored.ts'
import type { Command } from '../command.ts'
import { refuse } from '../refuse.ts'

const what = 'create the conversation'

export const createConversation: Command<'create-conversation'> = {
  cost: { budget: 'sends', members: ({ members }) => members.length + 1 },
  run: async ({ parts, actor, key }, { kind, name, members, clientId }) => {
    const others = [...new Set(members)].filter((user) => user !== actor.userId)
    if (kind === 'direct' && (others.length !== 1 || name !== undefined)) {
      throw new ChorusError('invalid', `unable to ${what}; a direct conversation has one other member and no name`)
    }
    if (kind === 'channel' && name === undefined)
      throw new ChorusError('invalid', `unable to ${what}; a channel needs a name`)

    const directKey = kind === 'direct' ? [actor.userId, ...others].sort().join(':') : null
    if (key === undefined && parts.limits.limitsStrangers) {
      const creation = { creator: actor.userId, others, directKey, clientId: clientId ?? null }
      parts.limits.takeStrangers(actor.userId, await readStrangersOfCreation(parts.database, creation))
    }

    const id = uuidv7()
    const appended = await parts.log.apply({
      op: 'create',
      conversation: id,
      actor: actor.userId,
      kind,
      name: name ?? null,
      directKey,
      members: [actor.userId, ...others],
      ...(clientId !== undefined && { clientId }),
    })
    switch (appended.outcome) {
      case 'stored': {
        if (kind === 'channel' && name !== undefined) await foldNameOf(parts.database, id, name)
        for (const user of [actor.userId, ...others]) parts.feeds.announceMembership(id, user)
        return { conversation: await afterStored(what, () => readConversation(parts.database, actor.userId, id)) }
      }
      case 'unchanged': {
        const conversation = await readConversation(parts.database, actor.userId, appended.detail?.conversation ?? id)
        if (conversation === undefined) throw refuse('not-found', what)
        return { conversation, duplicate: true }
      }
      case 'not-found':
        throw new ChorusError('not-found', `unable to ${what}; one of the members does not exist`)
      case 'forbidden':
      case 'too-large':
      case 'conflict':
        throw refuse(appended.outcome, what)
    }
  },
}
