/**
 * Erases a user in limited steps (rule ERASE2). Each step can be repeated, so after a failure any
 * server begins again and finds only what is left. The user has no session and accepts no token.
 *
 * Memberships end first: afterwards, no request that began before the erasure can append anything
 * to a group or channel. Messages become tombstones by ordinary changes, so clients and caches
 * learn of them as of any deletion (rule ERASE1). The external id is free only after the last step.
 */
import { type Change, ChorusError, type Id } from '@chorus/protocol'
import { revokeSessionsOf } from '../accounts/external-users.ts'
import type { Database } from '../database/database.ts'
import type { Feeds } from '../delivery/feeds.ts'
import { eraseAnswers, firstCall } from '../keys/idempotency-store.ts'
import type { Appended, OperationOutcome } from '../log/append-outcome.ts'
import type { ChangeLog } from '../log/change-log.ts'
import type { LogOperation } from '../log/operations.ts'
import { encodeChange } from '../support/logged-change.ts'
import { type MessageColumns, toMessage } from '../support/message-columns.ts'
import * as store from './erasure-store.ts'

export interface ErasureParts {
  readonly database: Database
  readonly log: Pick<ChangeLog, 'apply'>
  readonly feeds: Pick<Feeds, 'announce'>
  /** Closes the connections of these sessions on every server. */
  readonly announceRevoked: (sessionIds: readonly Id[]) => void
}

const firstId = '00000000-0000-0000-0000-000000000000'

/** Erases the user. Yields after each step, so that its caller can stop there. */
export async function* eraseUser(parts: ErasureParts, user: Id): AsyncGenerator<void> {
  const { database } = parts
  await revokeSessionsOf(database, [user], parts.announceRevoked)
  yield
  yield* endMemberships(parts, user)
  yield* eraseMessages(parts, user)
  yield* eraseReactions(parts, user)
  for (let place = await store.clearSessions(database, user, store.firstSession); place !== undefined; ) {
    yield
    place = await store.clearSessions(database, user, place)
  }
  while ((await store.deleteMails(database, user)) > 0) yield
  // Last, because requests of other users may have shown the texts until now.
  for (let call = await eraseAnswers(database, user, firstCall); call !== undefined; ) {
    yield
    call = await eraseAnswers(database, user, call)
  }
  await store.finishErasure(database, user)
}

async function* endMemberships(parts: ErasureParts, user: Id): AsyncGenerator<void> {
  const { database } = parts
  for (let after: Id | undefined = firstId; after !== undefined; ) {
    const conversations: Id[] = await store.readNextMemberships(database, user, after)
    await Promise.all(conversations.map((conversation) => leave(parts, user, conversation)))
    after = conversations.at(-1)
    yield
  }
  for (let after: Id | undefined = firstId; after !== undefined; ) {
    after = await store.clearReadMarkers(database, user, after)
    yield
  }
}

/** Ends a membership. In a direct conversation, the user remains, as "Deleted user". */
async function leave(parts: ErasureParts, user: Id, conversation: Id): Promise<void> {
  const appended = await apply(parts, { op: 'erase-member', conversation, actor: user, user })
  const role = appended.detail?.role ?? 'member'
  announce(parts, conversation, appended, ({ seq, at }) => ({ seq, at, actor: user, type: 'member.left', user, role }))
}

async function* eraseMessages(parts: ErasureParts, user: Id): AsyncGenerator<void> {
  for (
    let after: store.MessagePlace | undefined = { conversation: firstId, clientId: firstId };
    after !== undefined;
  ) {
    const messages: store.OwnMessage[] = await store.readNextMessages(parts.database, user, after)
    await Promise.all(
      messages.flatMap(({ conversation, seq, isErased }) =>
        isErased ? [] : [eraseMessage(parts, user, conversation, seq)],
      ),
    )
    after = messages.at(-1)
    yield
  }
}

async function eraseMessage(parts: ErasureParts, user: Id, conversation: Id, target: number): Promise<void> {
  const appended = await apply(parts, { op: 'erase-message', conversation, actor: user, target })
  announce(parts, conversation, appended, ({ seq, at, detail }) => {
    const message = toMessage(conversation, target, detail as MessageColumns)
    return { seq, at, actor: user, type: 'message.deleted', message }
  })
}

async function* eraseReactions(parts: ErasureParts, user: Id): AsyncGenerator<void> {
  for (;;) {
    const reactions = await store.readReactions(parts.database, user)
    if (reactions.length === 0) return
    await Promise.all(reactions.map((reaction) => eraseReaction(parts, user, reaction)))
    yield
  }
}

async function eraseReaction(parts: ErasureParts, user: Id, reaction: store.OwnReaction): Promise<void> {
  const { conversation, target, emoji } = reaction
  const appended = await apply(parts, { op: 'erase-reaction', conversation, actor: user, target, emoji })
  announce(parts, conversation, appended, ({ seq, at }) => ({
    ...{ seq, at, actor: user },
    type: 'reaction.removed',
    target,
    emoji,
  }))
}

type Step = Appended<OperationOutcome>

async function apply(
  { log }: ErasureParts,
  operation: Extract<LogOperation, { readonly op: 'erase-message' | 'erase-reaction' | 'erase-member' }>,
): Promise<Step> {
  const appended = await log.apply(operation)
  const { outcome } = appended
  if (outcome === 'stored' || outcome === 'unchanged') return appended
  throw new ChorusError('conflict', `unable to erase the user; the log answered ${outcome}`)
}

function announce({ feeds }: ErasureParts, conversation: Id, step: Step, toChange: (step: Step) => Change): void {
  if (step.outcome === 'stored') feeds.announce([encodeChange(conversation, step.xid, toChange(step))])
}
