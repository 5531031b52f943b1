/**
 * Gives a card its next version. The card is read and signed first; SQL then stores it only if the
 * card still has the version that the request is based on (rules CARD1, CARD2). A repeated request
 * whose result is the current version changes nothing.
 */
import { type Card, ChorusError, type Id, limits } from '@chorus/protocol'
import { readCard } from '../../log/read-card.ts'
import { encodeChange } from '../../support/logged-change.ts'
import { toMessage } from '../../support/message-columns.ts'
import type { Command } from '../command.ts'
import type { Parts } from '../parts.ts'
import { refuse, refuseStale } from '../refuse.ts'
import { completed } from '../messages/change-message.ts'
import { applyAsBot } from './apply-as-bot.ts'
import { resolveActions, unknownActor } from './resolve-actions.ts'

const what = 'change the card'

export const updateCard: Command<'update-card'> = {
  cost: { budget: 'key' },
  run: async ({ parts, actor }, { conversation, seq: target, version, state, fields, actions }) => {
    const known = await readCard(parts.database, conversation, target)
    if (known === undefined) throw refuse('not-found', what)
    if (version === limits.cardVersionMax)
      throw new ChorusError('too-large', `unable to ${what}; it has its last version, send a new one`)
    const resolved = actions === undefined ? known.card.actions : await resolveActions(parts.database, actions)
    if (resolved === undefined) throw unknownActor(what)
    const { type, title } = known.card
    const next = {
      version: version + 1,
      type,
      title,
      fields: fields ?? known.card.fields,
      actions: resolved,
      state,
    }
    const card = await parts.cards.sign(conversation, known.clientId, next)
    // A field that the request leaves out comes from the version that was read. SQL must compare
    // that version, because another change may have been stored since.
    return storeCard(parts, { conversation, actor: actor.userId, target, version: known.card.version, card })
  },
}

interface CardUpdate {
  readonly conversation: Id
  readonly actor: Id
  readonly target: number
  /** Version that was read. */
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
