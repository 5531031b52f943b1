/**
 * Plans, for each conversation, which missed changes to send to a client with a cursor. `GET
 * /v1/sync` and every resuming connection use this same plan (rules RES1, RES2, RES3, ACL1, ACL4).
 */
import { type Id, limits } from '@chorus/protocol'
import type { Cursor, CursorCodec } from '../log/cursor.ts'
import type { LogSegmentCache } from './log-segment-cache.ts'
import { MembershipProof } from './membership-proof.ts'
import type { RecentChanges } from './recent-changes.ts'
import type { Membership, Memberships } from '../log/read-memberships.ts'

/** Result of decoding a client's cursor on this server. */
export type CursorReading =
  | { readonly kind: 'none' }
  /**
   * The cursor is from another database epoch, from the future, or unreadable: the client must drop
   * its data and load again.
   */
  | { readonly kind: 'reset' }
  | { readonly kind: 'valid'; readonly cursor: Cursor }

export function readCursor(cursors: CursorCodec, text: string | undefined, epoch: string): CursorReading {
  if (text === undefined || text === '') return { kind: 'none' }
  const cursor = cursors.decode(text)
  return cursor === undefined || cursor.epoch !== epoch ? { kind: 'reset' } : { kind: 'valid', cursor }
}

/** Returns true if the cursor's position does not exist in the database yet. */
export function isFromTheFuture({ position, paging }: Cursor, { positionMax }: Memberships): boolean {
  return position > positionMax || (paging?.nextPosition ?? 0) > positionMax
}

export type ReplayStep =
  /** The user was removed since the cursor: send only the removal. */
  | { readonly kind: 'left'; readonly membership: Membership; readonly leftSeq: number }
  /**
   * The client has missed too many changes, or its user joined since the cursor: send the newest
   * page.
   */
  | { readonly kind: 'limited'; readonly membership: Membership; readonly proof: MembershipProof }
  /** Send every change after `after`, up to the membership's `seq`. */
  | {
      readonly kind: 'changes'
      readonly membership: Membership
      readonly proof: MembershipProof
      readonly after: number
    }

export interface PlanRequest {
  readonly user: Id
  /** Membership of this user in the conversation, as read for this request. */
  readonly membership: Membership
  /** Cursor of the client; undefined for a first load. */
  readonly cursor: Cursor | undefined
  /** Position of the database snapshot in which the membership was read. */
  readonly settled: number
  /**
   * Whether the caller has loaded the recent changes. If they do not reach back to the client's
   * cursor, the client has missed more changes than they contain.
   */
  readonly hasLoaded: boolean
}

/** Returns what to send of one conversation, or undefined for nothing. */
export async function planStep(
  segments: LogSegmentCache,
  recent: RecentChanges | undefined,
  { user, membership, cursor, settled, hasLoaded }: PlanRequest,
): Promise<ReplayStep | undefined> {
  const { conversation, seq, joinedSeq, leftSeq, logMoved, membershipMoved } = membership
  if (leftSeq !== null) return mayHaveSeen(cursor, conversation) ? { kind: 'left', membership, leftSeq } : undefined
  const proof = new MembershipProof(user, conversation, seq)
  const reached = cursor?.paging?.conversation === conversation ? cursor.paging.seq : 0
  // The previous page ended within this conversation: continue there, unless too many changes are
  // left.
  if (reached > 0)
    // The seq in a cursor is checked before any feed uses it: when it is beyond the end of the log,
    // send the newest page.
    return reached > seq || seq - reached > limits.replayMaxChanges || joinedSeq > reached
      ? { kind: 'limited', membership, proof }
      : { kind: 'changes', membership, proof, after: reached }
  const position = cursor === undefined ? 0 : positionFor(cursor, conversation)
  if (cursor === undefined || position === 0) return { kind: 'limited', membership, proof }
  if (!logMoved) return membershipMoved ? { kind: 'changes', membership, proof, after: seq } : undefined

  const known = recent === undefined || recent.newestSeq < seq ? undefined : recent.boundary(position, recent.newestSeq)
  const boundary =
    known ?? (await segments.boundary(conversation, { position, top: seq, settled, lacksMany: hasLoaded }))
  if (boundary === undefined || joinedSeq > boundary) return { kind: 'limited', membership, proof }
  return { kind: 'changes', membership, proof, after: boundary }
}

/**
 * Returns true if the client may have received this conversation before. A first load covers only
 * current memberships. So when a user has left during it, the conversation was sent only if it was
 * on an earlier page.
 */
function mayHaveSeen(cursor: Cursor | undefined, conversation: Id): boolean {
  if (cursor === undefined) return false
  return cursor.position > 0 || (cursor.paging !== undefined && conversation <= cursor.paging.conversation)
}

/**
 * Returns the position from which this client has missed changes of the conversation. For
 * conversations on earlier pages, it is the position of the first page.
 */
function positionFor({ position, paging }: Cursor, conversation: Id): number {
  return paging !== undefined && conversation < paging.conversation ? paging.nextPosition : position
}
