/**
 * Takes an action of a card. SQL stores the first act on a version of the card and refuses any
 * further one, under the conversation's lock (rule CARD1).
 */
import { hashValue } from '../../log/same-request.ts'
import { encodeChange } from '../../support/logged-change.ts'
import type { Command } from '../command.ts'
import { refuse, refuseStale } from '../refuse.ts'

const what = 'act on the card'

export const actOnCard: Command<'act-on-card'> = {
  cost: { budget: 'sends' },
  run: async ({ parts, actor }, { conversation, seq: target, clientId, version, action }) => {
    const hash = hashValue({ target, version, action })
    const act = { op: 'act', conversation, actor: actor.userId, target, clientId, hash, version, action } as const
    const { outcome, seq, at, xid, detail } = await parts.log.apply(act)
    switch (outcome) {
      case 'stored':
        parts.feeds.announce([
          encodeChange(conversation, xid, { seq, at, actor: actor.userId, type: 'card.acted', target, action }),
        ])
        return { seq }
      case 'unchanged':
        return { seq }
      case 'stale':
        throw refuseStale(detail, what)
      case 'not-found':
      case 'forbidden':
      case 'too-large':
      case 'conflict':
        throw refuse(outcome, what)
    }
  },
}
