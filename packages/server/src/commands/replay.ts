/**
 * What a cursor's holder has missed, per conversation: one plan for `GET /v1/sync` and for every resuming connection
 * (rules RES1, RES2, RES3, ACL1, ACL4).
 */
import { type Id, limits } from '@chorus/protocol'
import type { Feed } from '../fanout/feed.ts'
import type { Cursor, CursorCodec } from '../store/cursor.ts'
import type { LogStretches } from '../store/log-stretches.ts'
import type { Membership, Memberships } from '../store/read-memberships.ts'

/** What a cursor means here. */
export type CursorReading =
  | { readonly kind: 'none' }
  /** Of another history, from the future, or no cursor at all: the client forgets what it has. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'valid'; readonly cursor: Cursor }

export function readCursor(cursors: CursorCodec, text: string | undefined, epoch: string): CursorReading {
  if (text === undefined || text === '') return { kind: 'none' }
  const cursor = cursors.decode(text)
  return cursor === undefined || cursor.epoch !== epoch ? { kind: 'reset' } : { kind: 'valid', cursor }
}

/** From the future: the database has not handed that position out. */
export function isFromTheFuture({ position, paging }: Cursor, { positionMax }: Memberships): boolean {
  return position > positionMax || (paging?.nextPosition ?? 0) > positionMax
}

export type ReplayStep =
  /** Removed since: only that change. */
  | { readonly kind: 'left'; readonly membership: Membership; readonly leftSeq: number }
  /** Too much was missed, or joined since: the newest page. */
  | { readonly kind: 'limited'; readonly membership: Membership }
  /** Everything after `after`, up to the membership's `seq`. */
  | { readonly kind: 'changes'; readonly membership: Membership; readonly after: number }

/**
 * What to send of one conversation. `cursor` undefined: a first load. `settled`: the position of the snapshot in which the
 * membership was seen.
 */
export async function planStep(
  stretches: LogStretches,
  membership: Membership,
  cursor: Cursor | undefined,
  feed: Feed | undefined,
  settled: number,
): Promise<ReplayStep | undefined> {
  const { conversation, seq, joinedSeq, leftSeq, logMoved, membershipMoved } = membership
  if (leftSeq !== null) return mayHaveSeen(cursor, conversation) ? { kind: 'left', membership, leftSeq } : undefined
  const reached = cursor?.paging?.conversation === conversation ? cursor.paging.seq : 0
  // The page before ended within this conversation: the rest of it follows, unless that has become too much.
  if (reached > 0)
    // Not beyond the log, whatever a cursor says: what a feed is told comes from the database alone.
    return reached > seq || seq - reached > limits.replayMaxChanges || joinedSeq > reached
      ? { kind: 'limited', membership }
      : { kind: 'changes', membership, after: reached }
  const position = cursor === undefined ? 0 : positionFor(cursor, conversation)
  if (cursor === undefined || position === 0) return { kind: 'limited', membership }
  if (!logMoved) return membershipMoved ? { kind: 'changes', membership, after: seq } : undefined

  const recent = feed?.recent
  const known = recent === undefined || recent.newestSeq < seq ? undefined : recent.boundary(position, recent.newestSeq)
  // A connection that resumes has looked at the recent changes: it lacks more.
  const lacksMany = feed !== undefined
  const boundary = known ?? (await stretches.boundary(conversation, { position, top: seq, settled, lacksMany }))
  if (boundary === undefined || joinedSeq > boundary) return { kind: 'limited', membership }
  return { kind: 'changes', membership, after: boundary }
}

/** A first load is of what one is in; only what its earlier pages have shown can have been left since. */
function mayHaveSeen(cursor: Cursor | undefined, conversation: Id): boolean {
  if (cursor === undefined) return false
  return cursor.position > 0 || (cursor.paging !== undefined && conversation <= cursor.paging.conversation)
}

/** Conversations that earlier pages covered count from the first page's own position. */
function positionFor({ position, paging }: Cursor, conversation: Id): number {
  return paging !== undefined && conversation < paging.conversation ? paging.nextPosition : position
}
