/**
 * Gives a card its next version. The card is read and signed first; SQL then stores it only if the
 * card still has the version that the request is based on (rules CARD1, CARD2).
 */
import type { Card, Id } from '@chorus/protocol'
import { readCard } from '../../log/read-card.ts'
import { encodeChange } from '../../support/logged-change.ts'
import { toMessage } from '../../support/message-columns.ts'
import type { Command } from '../command.ts'
import type { Parts } from '../parts.ts'
import { refuse, refuseStale } from '../refuse.ts'
import { applyAsBot } from './apply-as-bot.ts'
import { completed } from '../messages/change-message.ts'
import { resolveActions } from './resolve-actions.ts'

const what = 'change the card'

export const updateCard: Command<'update-card'> = {
  cost: { budget: 'key' },
  run: async ({ parts, actor }, { conversation, seq: target, version, state, fields, actions }) => {
    const known = await readCard(parts.database, conversation, target)
    if (known === undefined) throw refuse('not-found', what)
    const { type, title } = known.card
    const next = {
      version: version + 1,
      type,
      title,
      fields: fields ?? known.card.fields,
      actions: actions === undefined ? known.card.actions : await resolveActions(parts.database, actions, what),
      state,
    }
    const card = await parts.cards.sign(conversation, known.clientId, next)
    return storeCard(parts, { conversation, actor: actor.userId, target, version, card })
  },
}

interface CardUpdate {
  readonly conversation: Id
  readonly actor: Id
  readonly target: number
  readonly version: number
  readonly card: Card
}

async function storeCard(parts: Parts, { card, ...update }: CardUpdate): Promise<{ seq: number; card: Card }> {
  const { conversation, actor, target } = update
  const { outcome, seq, at, xid, detail } = await applyAsBot(parts, {
    op: 'update-card',
    ...update,
    card: JSON.stringify(card),
  })
  switch (outcome) {
    case 'stored':
    case 'unchanged': {
      const message = toMessage(conversation, target, completed(detail))
      if (outcome === 'stored')
        parts.feeds.announce([encodeChange(conversation, xid, { seq, at, actor, type: 'card.updated', message })])
      return { seq, card: message.card ?? card }
    }
    case 'stale':
      throw refuseStale(detail, what)
    case 'not-found':
    case 'forbidden':
    case 'too-large':
    case 'conflict':
      throw refuse(outcome, what)
  }
}
