/**
 * Applies an operation of an API key. The bot of the key joins a group or channel, visibly, before it
 * first writes there (rule SUB1). It joins no direct conversation.
 */
import type { Id } from '@chorus/protocol'
import type { Appended, CardOutcome } from '../../log/append-outcome.ts'
import type { CardOperation, LogOperation } from '../../log/operations.ts'
import { encodeChange } from '../../support/logged-change.ts'
import type { Parts } from '../parts.ts'

/** Applies the operation on a card. If its actor is no member, joins and applies it again. */
export async function applyAsBot(
  parts: Parts,
  operation: Extract<LogOperation, { readonly op: CardOperation }>,
): Promise<Appended<CardOutcome>> {
  const first = await parts.log.apply(operation)
  const { conversation, actor } = operation
  return first.outcome === 'not-found' && (await joinAsBot(parts, conversation, actor))
    ? parts.log.apply(operation)
    : first
}

/** Adds the bot to the conversation. Returns whether it has joined, so that it may write now. */
export async function joinAsBot(parts: Parts, conversation: Id, bot: Id): Promise<boolean> {
  const join = { op: 'put-member', conversation, actor: bot, user: bot, role: null, byKey: true } as const
  const { outcome, seq, at, xid, detail } = await parts.log.apply(join)
  if (outcome !== 'stored') return false
  const change = { seq, at, actor: bot, type: 'member.joined', user: bot, role: detail?.role ?? 'member' } as const
  parts.feeds.announce([encodeChange(conversation, xid, change)])
  parts.feeds.announceMembership(conversation, bot)
  return true
}
