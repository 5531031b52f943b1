/**
 * Caches the newest changes of one conversation while it is served. Most resumes and joins are
 * answered from here. So the database is read at most once per conversation, however many clients
 * come back (rule LIM2).
 *
 * The cache is always a consecutive run of seqs that ends at the newest known one. Changes that
 * came by a read show messages as of that read's seq, so only users seen as members at that seq or
 * later may get them (rule ACL1). An edit or a deletion rewrites the cached text of its message, as
 * if the run had been read after it (rule ERASE1). The cache may be emptied at any time
 * (recent-changes-memory-limit.ts): callers then read the database.
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
  /** Maximum number of changes kept for a conversation that has been quiet for a while. */
  quietChangesMax: 64,
  /** Maximum number of changes by which a cached page may be behind. */
  pageBehindMax: 100,
  /** Approximate memory of a change in addition to its JSON. */
  overheadBytes: 200,
} as const

/** One event of a replay. */
export interface ReplayFrame {
  readonly frame: Frame
  /** Last seq in the frame. */
  readonly seq: number
  readonly changes: number
}

/** The last encoded range. Clients that come back together lack the same range. */
interface Encoded {
  readonly from: number
  readonly to: number
  readonly frames: readonly ReplayFrame[]
  readonly bytes: number
}

export class RecentChanges {
  /** Knowledge of the feed that writes this run. */
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
   * Newest state of the log that a message in this run may show, apart from its own change. Only
   * users seen as members at this seq or later may get the run (rule ACL1). Never decreases.
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

  /** Whether a load has already brought the older changes. Another load would bring no more. */
  get isLoaded(): boolean {
    return this.#isLoaded
  }

  /**
   * Appends a change when it directly follows the newest one, even if it is too early or too late
   * for delivery.
   */
  follow(change: LoggedChange): void {
    const newest = this.#changes.at(-1)
    if (newest !== undefined && change.seq === newest.seq + 1) this.append(change)
  }

  /** Appends a change. A gap before it restarts the run. */
  append(change: LoggedChange): void {
    const before = this.bytes
    this.#push(change)
    this.#trim(recentLimits.changesMax)
    this.#account(before)
  }

  /** Accepts the result of a load, and adds the changes held by the feed that follow it. */
  acceptLoaded(read: readonly LoggedChange[]): void {
    this.merge(read)
    for (;;) {
      const following = this.log?.held(this.newestSeq + 1)
      if (following === undefined) return
      this.append(following)
    }
  }

  /**
   * Merges the result of a load when it connects with the current run. On a gap, the newer run
   * wins.
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

  /** Drops the changes above `seq`: the log ends there, so hints beyond it were wrong. */
  endAt(seq: number): void {
    const before = this.bytes
    while (this.newestSeq > seq) this.#bytes -= sizeOf(this.#changes.pop() as LoggedChange)
    this.#account(before)
  }

  /**
   * Returns the seq of the oldest cached page that this run can bring up to `to`. Returns undefined
   * when the run lacks the changes, or shows them as of a later seq. Never below an edit or a
   * deletion, because the text before it must not be shown any more (rule ERASE1).
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

  /** Returns the changes `from` to `to`, or undefined when some are missing here. */
  range(from: number, to: number): LoggedChange[] | undefined {
    if (from > to) return []
    const first = this.#changes[0]
    if (first === undefined || from < first.seq || to > this.newestSeq) return undefined
    this.#account(this.bytes)
    return this.#changes.slice(from - first.seq, to - first.seq + 1)
  }

  /** Returns the changes `from` to `to` as frames, encoded once for all clients that lack them. */
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
    // Counts the JSON and its encoding for the wire.
    this.#encoded = { from, to, frames, bytes: frames.reduce((sum, { frame }) => sum + 2 * frame.bytes, 0) }
    this.#account(before)
    return frames
  }

  /**
   * Returns the seq after which every change up to `top` was written at or after `position` (see
   * log/read-changes.ts). Returns undefined when the run does not reach that far back.
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
   * Keeps only what clients need after a short absence, because the conversation is quiet. Called
   * by the memory limit.
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
   * Ends the run, because its feed has ended: it leaves the cache and its memory limit, and stays
   * readable.
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
    // As if read by now: only current members may see it (rule ACL1).
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
    // Splice in place instead of copying: a full run drops its oldest change for every new one.
    if (drop > 0) this.#changes.splice(0, drop)
  }

  #account(before: number): void {
    this.#budget?.use(this, this.bytes - before)
  }
}

function sizeOf({ json }: LoggedChange): number {
  return json.length + recentLimits.overheadBytes
}
