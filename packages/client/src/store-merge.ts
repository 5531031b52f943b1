/**
 * The rules of a commit, pure and the same for every store: what a client writes is judged against what the store holds.
 * Guarantee: whatever the order in which clients commit, the stored cursor covers nothing that the stored entries lack.
 *
 * Background: each tab has its own connection and its own cursor, and cursors are opaque, so a store cannot say which of
 * two is newer. Replacing everything, or the last write winning, lets a tab that lags put back an older copy under a newer
 * cursor: what lies between is lost for good. Here entries only move forward: the higher `appliedSeq` wins, leaving wins at
 * the same seq, and read markers take the maximum. Then any client's cursor is safe with the merged entries, because all
 * that it covers was written by that client before and can only have moved on since. One thing no entry says: that a first
 * load did not find a conversation. So when one appears that the store did not show, a new generation begins, and every
 * other client has to look at all entries again before its cursor counts.
 */
import { createClientId } from './client-id.ts'
import type { CommitOutcome, ConversationRecord, OutboxRecord, RemovedRecord, ReplicaCommit } from './store.ts'
import { countUnreadInWindow, toSummary } from './summary.ts'

/** What a store keeps of one conversation. */
export type StoredEntry = ConversationRecord | (RemovedRecord & { readonly isRemoved: true })

/** What a store keeps of one user besides the entries. */
export interface StoredPosition {
  readonly epoch: string
  readonly cursor: string
  readonly generation?: string
}

export interface JudgedCommit {
  /** Undefined: nothing is written. */
  readonly position: StoredPosition | undefined
  /** Deletes all entries before `entries` are written. */
  readonly isFresh: boolean
  /** To be written, by id. */
  readonly entries: ReadonlyMap<string, StoredEntry>
  readonly outcome: CommitOutcome
}

/** The position after the data was cleared: a client that lags must not fill it again. */
export function clearedPosition(): StoredPosition {
  return { epoch: '', cursor: '', generation: createClientId() }
}

/** Judges a commit. `held` needs to contain the entries the commit names, and all of them for `replace`. */
export function judgeCommit(
  userId: string,
  position: StoredPosition | undefined,
  held: ReadonlyMap<string, StoredEntry>,
  commit: ReplicaCommit,
): JudgedCommit {
  const isReplacing = commit.replace === true
  const isSameGeneration = position?.generation === commit.base
  const isMerged = position?.epoch === commit.epoch && (isSameGeneration || isReplacing)
  const isFresh = !isMerged && isReplacing && isSameGeneration
  if (!isMerged && !isFresh) {
    const outcome = { kind: 'refused', epoch: position?.epoch, generation: position?.generation } as const
    return { position: undefined, isFresh: false, entries: new Map(), outcome }
  }
  const known: ReadonlyMap<string, StoredEntry> = isFresh ? new Map() : held
  const incoming = [
    ...commit.conversations,
    ...commit.removed.map((removed): StoredEntry => ({ ...removed, isRemoved: true })),
  ]
  const entries = new Map<string, StoredEntry>()
  for (const entry of incoming) entries.set(entry.id, mergeEntries(userId, known.get(entry.id), entry))
  const own = new Set(incoming.filter(isPresent).map(({ id }) => id))
  const foreign = isReplacing
    ? [...known.values()]
        .map((entry) => entries.get(entry.id) ?? entry)
        .filter((one) => isPresent(one) && !own.has(one.id))
    : []
  const cursorBefore = isFresh ? '' : (position?.cursor ?? '')
  const isAdded = [...entries.values()].some((entry) => {
    const before = known.get(entry.id)
    return isPresent(entry) && (before === undefined || !isPresent(before))
  })
  const generation = isFresh || isAdded ? createClientId() : position?.generation
  return {
    position: {
      epoch: commit.epoch,
      cursor: foreign.length > 0 ? cursorBefore : (commit.cursor ?? cursorBefore),
      ...(generation !== undefined && { generation }),
    },
    isFresh,
    entries,
    outcome: { kind: 'stored', generation, foreign },
  }
}

/** Splits what a store has into what a client reads. */
export function toRecords(entries: Iterable<StoredEntry>): {
  readonly conversations: readonly ConversationRecord[]
  readonly removed: readonly RemovedRecord[]
} {
  const conversations: ConversationRecord[] = []
  const removed: RemovedRecord[] = []
  for (const entry of entries) {
    if ('isRemoved' in entry) removed.push({ id: entry.id, appliedSeq: entry.appliedSeq })
    else conversations.push(entry)
  }
  return { conversations, removed }
}

/** Says whether an outbox record may take the place of the held one. */
export function mayReplace(held: OutboxRecord | undefined, next: OutboxRecord): boolean {
  return held?.status.state !== 'acknowledged' || next.status.state === 'acknowledged'
}

function isPresent(entry: StoredEntry): entry is ConversationRecord {
  return rankOf(entry) === 0
}

/** At the same seq, more of leaving is newer: nothing but leaving comes after the last seq of a member. */
function rankOf(entry: StoredEntry): number {
  if ('isRemoved' in entry) return 2
  return entry.left === true ? 1 : 0
}

function mergeEntries(me: string, held: StoredEntry | undefined, incoming: StoredEntry): StoredEntry {
  if (held === undefined) return incoming
  const isSameSeq = held.appliedSeq === incoming.appliedSeq
  const isHeldNewer = isSameSeq ? rankOf(held) > rankOf(incoming) : held.appliedSeq > incoming.appliedSeq
  const [newer, older] = isHeldNewer ? [held, incoming] : [incoming, held]
  if (!isPresent(newer) || !isPresent(older)) return newer
  if (!isSameSeq) return withMarker(me, newer, older)
  if (newer.summary === undefined) return older
  const window = newer.window ?? older.window
  return withMarker(me, { ...newer, ...(window && { window }) }, older)
}

/** Read markers move outside the log: the furthest of both holds. */
function withMarker(me: string, newer: ConversationRecord, older: ConversationRecord): ConversationRecord {
  const readSeq = older.summary?.readSeq ?? 0
  const { summary, window, appliedSeq } = newer
  if (summary === undefined || readSeq <= summary.readSeq) return newer
  const loaded = window && { entries: window.messages, hasBefore: window.hasBefore, hasAfter: false }
  const unread = countUnreadInWindow(toSummary(summary), loaded, readSeq, me)
  if (unread !== undefined) {
    const { isUnreadUnsure: _, ...sure } = newer
    return { ...sure, summary: { ...summary, readSeq, unread }, unreadAsOfSeq: appliedSeq }
  }
  return { ...newer, summary: { ...summary, readSeq, unread: older.summary?.unread ?? 0 }, isUnreadUnsure: true }
}
