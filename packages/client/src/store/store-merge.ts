/**
 * Rules for commits to a store that several clients (tabs) share. Pure functions, the same for
 * every store: they merge a commit into the stored data or refuse it.
 *
 * Guarantee: in whatever order clients commit, the stored conversations contain every change that
 * the stored cursor covers.
 *
 * Background: each tab has its own connection and its own cursor. Cursors are opaque, so a store
 * cannot tell which of two is newer. The naive ways, replacing all data or last write wins, let a
 * tab with outdated data store an older copy together with a newer cursor. The changes in between
 * are then lost.
 *
 * Here the stored conversations only move forward. The higher `appliedSeq` wins, a departure wins
 * at the same seq, and the higher of two read markers wins. Then the cursor of any client is safe
 * to store: that client has already written all changes that its cursor covers, and no later commit
 * can remove them.
 *
 * One case needs more: the user leaves a conversation, so the first load of one client does not
 * contain it, but a client with outdated data then adds it to the store. So a commit that adds a
 * conversation starts a new generation (a new id of the stored data). Every other client must then
 * commit its whole copy before its cursor is accepted.
 */
import { createClientId } from '../support/client-id.ts'
import type { CommitOutcome, ConversationRecord, OutboxRecord, RemovedRecord, ReplicaCommit } from '../model/store.ts'
import { countUnreadInWindow, toSummary } from '../model/summary.ts'

/** Stored data of one conversation. */
export type StoredEntry = ConversationRecord | (RemovedRecord & { readonly isRemoved: true })

/** Epoch, cursor and generation of the stored data of one user. */
export interface StoredPosition {
  readonly epoch: string
  readonly cursor: string
  readonly generation?: string
}

export interface JudgedCommit {
  /** New position, or undefined when nothing is written. */
  readonly position: StoredPosition | undefined
  /** True when all stored entries must be deleted before `entries` are written. */
  readonly isFresh: boolean
  /** Entries to write, by conversation id. */
  readonly entries: ReadonlyMap<string, StoredEntry>
  readonly outcome: CommitOutcome
}

/**
 * Returns the position for cleared data. Its new generation prevents a client with outdated data
 * from writing that data again.
 */
export function clearedPosition(): StoredPosition {
  return { epoch: '', cursor: '', generation: createClientId() }
}

/**
 * Decides what a commit writes. `held` must contain the stored entries that the commit names; with
 * `replace`, it must contain all stored entries.
 */
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

/** Splits stored entries into conversations and removed conversations. */
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

/**
 * Returns whether an outbox record may replace the stored one: an acknowledged message never
 * becomes pending again.
 */
export function mayReplace(held: OutboxRecord | undefined, next: OutboxRecord): boolean {
  return held?.status.state !== 'acknowledged' || next.status.state === 'acknowledged'
}

function isPresent(entry: StoredEntry): entry is ConversationRecord {
  return rankOf(entry) === 0
}

/**
 * Returns the rank of an entry. Of two entries with the same seq, the one with the higher rank is
 * newer: a left conversation is newer than a present one.
 */
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

/** Applies the higher of two read markers, because read markers move outside the log. */
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
