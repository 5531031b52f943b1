/**
 * Caches the newest changes of one conversation while this server has its feed. Most resumes and
 * joins are answered from this cache. So the database is read at most once per conversation,
 * however many clients come back (rule LIM2).
 *
 * The cached changes are always a run: their seqs are consecutive and end at the newest known one.
 * Changes that were read from the database show messages as of the seq of that read, so only users
 * proved to be members at that seq or later may get them (rule ACL1). An edit or a deletion
 * rewrites the cached text of its message, as if the run had been read after it (rule ERASE1). The
 * cache may be emptied at any time (recent-changes-memory-limit.ts): callers then read the
 * database.
 */
import type { LoggedChange } from '../support/logged-change.ts'
import { collectRewrites, isRewrite, type Rewrites, rewritten } from '../support/message-state.ts'
import { changesFrame, type Frame } from '../frames/frame.ts'
import type { RecentChangesMemoryLimit } from './recent-changes-memory-limit.ts'
import { splitBatches } from '../frames/split-batches.ts'
import type { ServedLog } from './served-log.ts'

export const recentLimits = {
  changesMax: 256,
  bytesMax: 262_144,
  /**
   * Maximum number of changes that stay cached for a conversation that has been quiet for a while.
   */
  quietChangesMax: 64,
  /** Maximum number of changes that a usable cached page may lack. */
  pageBehindMax: 100,
  /** Approximate memory of a cached change in addition to its JSON. */
  overheadBytes: 200,
} as const

/** One event of a replay (the sending of missed changes). */
export interface ReplayFrame {
  readonly frame: Frame
  /** Seq of the last change in the frame. */
  readonly seq: number
  readonly changes: number
}

/** The last range that was encoded. Clients that come back together have missed the same range. */
interface Encoded {
  readonly from: number
  readonly to: number
  readonly frames: readonly ReplayFrame[]
  readonly bytes: number
}

export class RecentChanges {
  /** State of the conversation that its feed knows. */
  readonly log: ServedLog | undefined
  #budget: RecentChangesMemoryLimit | undefined
  readonly #onRetired: (() => void) | undefined
  #changes: LoggedChange[] = []
  #bytes = 0
  #asOf = 0
  #isLoaded = false
  #encoded: Encoded | undefined
  /**
   * Tick of the memory limit at the last use; negative while this cache does not count against it.
   */
  usedInTick = -1

  constructor(budget?: RecentChangesMemoryLimit, log?: ServedLog, onRetired?: () => void) {
    this.#budget = budget
    this.log = log
    this.#onRetired = onRetired
  }

  /**
   * Newest seq whose edits and deletions a message in this run may show. Only users proved to be
   * members at this seq or later may get the run (rule ACL1). Never decreases.
   */
  get asOf(): number {
    return this.#asOf
  }

  /** Records that changes were read from the log as it was at this seq. */
  noteRead(asOf: number): void {
    this.#asOf = Math.max(this.#asOf, asOf)
  }

  get newestSeq(): number {
    return this.#changes.at(-1)?.seq ?? 0
  }

  /** Whether a load has already added the older changes. Another load would add none. */
  get isLoaded(): boolean {
    return this.#isLoaded
  }

  /**
   * Appends a change when it directly follows the newest cached one, even if the feed cannot
   * deliver it yet or has already delivered it.
   */
  follow(change: LoggedChange): void {
    const newest = this.#changes.at(-1)
    if (newest !== undefined && change.seq === newest.seq + 1) this.append(change)
  }

  /** Appends a change. If changes before it are missing, the run starts again with it. */
  append(change: LoggedChange): void {
    const before = this.bytes
    this.#push(change)
    this.#trim(recentLimits.changesMax)
    this.#account(before)
  }

  /** Accepts the changes of a load, and adds the changes after them that the feed holds. */
  acceptLoaded(read: readonly LoggedChange[]): void {
    this.merge(read)
    for (;;) {
      const following = this.log?.held(this.newestSeq + 1)
      if (following === undefined) return
      this.append(following)
    }
  }

  /**
   * Merges the changes of a load when they connect with the current run. When they do not connect,
   * keeps the newer changes: those of the load or those of the run.
   */
  merge(read: readonly LoggedChange[]): void {
    const before = this.bytes
    const last = read.at(-1)
    if (last === undefined) return
    const first = this.#changes[0]
    if (first === undefined || last.seq >= first.seq - 1) {
      this.noteRead(last.seq)
      const older = first === undefined ? [] : read.filter((change) => change.seq < first.seq)
      if (older.length > 0) {
        this.#changes = [...older, ...this.#changes]
        for (const change of older) this.#bytes += sizeOf(change)
        // These changes may have been read before their messages were edited or deleted.
        const rewrites = collectRewrites(this.#changes)
        if (rewrites !== undefined) this.#rewrite(rewrites)
      }
      for (const change of read) this.#push(change)
      this.#isLoaded = true
    }
    this.#trim(recentLimits.changesMax)
    this.#account(before)
  }

  /**
   * Drops the changes above `seq`: the log ends there, so hints over Redis with a higher seq were
   * wrong.
   */
  endAt(seq: number): void {
    const before = this.bytes
    while (this.newestSeq > seq) this.#bytes -= sizeOf(this.#changes.pop() as LoggedChange)
    this.#account(before)
  }

  /**
   * Returns the lowest seq of a cached page that these changes can bring up to date with `to`.
   * Returns undefined when some changes are missing, or show messages as of a later seq. A page
   * from before an edit or a deletion is not acceptable, because its text must not be shown any
   * more (rule ERASE1).
   */
  oldestPageSeq(to: number): number | undefined {
    const first = this.#changes[0]
    if (first === undefined || to > this.newestSeq || this.#asOf > to) return undefined
    const lowest = Math.max(first.seq - 1, to - recentLimits.pageBehindMax)
    for (let seq = to; seq > lowest; seq--) {
      const change = this.#changes[seq - first.seq]
      if (change !== undefined && isRewrite(change)) return seq
    }
    return lowest
  }

  /** Returns the changes `from` to `to`, or undefined when some of them are not cached. */
  range(from: number, to: number): LoggedChange[] | undefined {
    if (from > to) return []
    const first = this.#changes[0]
    if (first === undefined || from < first.seq || to > this.newestSeq) return undefined
    this.#account(this.bytes)
    return this.#changes.slice(from - first.seq, to - first.seq + 1)
  }

  /**
   * Returns the changes `from` to `to` as frames, encoded once for all clients that have missed
   * them.
   */
  frames(from: number, to: number): readonly ReplayFrame[] | undefined {
    if (this.#encoded?.from === from && this.#encoded.to === to) {
      this.#account(this.bytes)
      return this.#encoded.frames
    }
    const [first, ...others] = this.range(from, to) ?? []
    if (first === undefined) return from > to ? [] : undefined
    const before = this.bytes
    const frames = splitBatches([first, ...others]).map((batch) => ({
      frame: changesFrame(first.conversation, batch),
      seq: (batch.at(-1) as LoggedChange).seq,
      changes: batch.length,
    }))
    // The size counts the JSON of the frames and its encoding for the network.
    this.#encoded = { from, to, frames, bytes: frames.reduce((sum, { frame }) => sum + 2 * frame.bytes, 0) }
    this.#account(before)
    return frames
  }

  /**
   * Returns the seq of the last change up to `top` that was written before `position`, or 0 if
   * there is none (see log/read-changes.ts). Returns undefined when the cached changes do not reach
   * back that far.
   */
  boundary(position: number, top: number): number | undefined {
    const first = this.#changes[0]
    if (first === undefined || top > this.newestSeq) return undefined
    for (let index = top - first.seq; index >= 0; index--) {
      const change = this.#changes[index] as LoggedChange
      if (change.xid < position) return change.seq
    }
    return first.seq === 1 ? 0 : undefined
  }

  /**
   * Drops all changes but those that clients need after a short absence. Called by the memory limit
   * when the conversation is quiet.
   */
  shrink(): void {
    this.#encoded = undefined
    this.#trim(recentLimits.quietChangesMax)
  }

  /** Empties the cache. Called by the memory limit. */
  clear(): void {
    this.#changes = []
    this.#encoded = undefined
    this.#bytes = 0
    this.#isLoaded = false
  }

  /**
   * Ends this cache because its feed has ended: it no longer counts against the memory limit, and
   * its changes stay readable.
   */
  retire(): void {
    this.#budget?.remove(this)
    this.#budget = undefined
    this.#onRetired?.()
  }

  get bytes(): number {
    return this.#bytes + (this.#encoded?.bytes ?? 0)
  }

  #push(change: LoggedChange): void {
    const newest = this.#changes.at(-1)
    if (newest !== undefined) {
      if (change.seq <= newest.seq) return
      if (change.seq !== newest.seq + 1) this.clear()
    }
    this.#changes.push(change)
    this.#bytes += sizeOf(change)
    const rewrites = collectRewrites([change])
    if (rewrites !== undefined) this.#rewrite(rewrites)
  }

  #rewrite(rewrites: Rewrites): void {
    let newest = 0
    for (const [index, change] of this.#changes.entries()) {
      const now = rewritten(change, rewrites)
      if (now === change) continue
      this.#changes[index] = now
      this.#bytes += sizeOf(now) - sizeOf(change)
      newest = this.newestSeq
    }
    if (newest === 0) return
    // The changes may show this edit from now on, so only users who are members by now may see them
    // (rule ACL1).
    this.noteRead(newest)
    this.#encoded = undefined
  }

  #trim(changesMax: number): void {
    let drop = 0
    while (
      this.#changes.length - drop > changesMax ||
      (this.#bytes > recentLimits.bytesMax && this.#changes.length - drop > 1)
    ) {
      this.#bytes -= sizeOf(this.#changes[drop] as LoggedChange)
      drop++
    }
    // Remove in place instead of copying: a full cache drops its oldest change for every new one.
    if (drop > 0) this.#changes.splice(0, drop)
  }

  #account(before: number): void {
    this.#budget?.use(this, this.bytes - before)
  }
}

function sizeOf({ json }: LoggedChange): number {
  return json.length + recentLimits.overheadBytes
}
