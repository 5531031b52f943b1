/**
 * The newest changes of one conversation, kept while it is served: what a resume or a join needs is mostly here, so that
 * the database is read for it at most once per conversation however many clients come back (rule LIM2).
 *
 * Always a consecutive run of seqs that ends at the newest known one. What came by a read says as of which seq: a message in
 * it is as it was then, so it is for those who were seen to be members at that seq or later (rule ACL1). An edit or a deletion
 * rewrites what is kept of its message, as if the run had been read after it (rule ERASE1). It may be emptied
 * at any time (recent-budget.ts): whoever misses something reads it.
 */
import type { LoggedChange } from '../support/logged-change.ts'
import { collectRewrites, isRewrite, type Rewrites, rewritten } from '../support/message-state.ts'
import { changesFrame, type Frame } from './frame.ts'
import type { RecentBudget } from './recent-budget.ts'
import { splitBatches } from './split-batches.ts'

export const recentBounds = {
  changesMax: 256,
  bytesMax: 262_144,
  /** Kept of a conversation that has been quiet for a while. */
  quietChangesMax: 64,
  /** Changes that a page from a moment ago may lack. */
  pageBehindMax: 100,
  /** What a change takes beside its JSON, near enough. */
  overheadBytes: 200,
} as const

/** One event of a replay. */
export interface ReplayFrame {
  readonly frame: Frame
  /** The last seq in it. */
  readonly seq: number
  readonly changes: number
}

/** What was asked for last: those who come back together lack the same. */
interface Encoded {
  readonly from: number
  readonly to: number
  readonly frames: readonly ReplayFrame[]
  readonly bytes: number
}

export class RecentChanges {
  #budget: RecentBudget | undefined
  #changes: LoggedChange[] = []
  #bytes = 0
  #asOf = 0
  #isLoaded = false
  #encoded: Encoded | undefined
  /** Of the budget's clock; negative while it does not count there. */
  usedInTick = -1

  constructor(budget?: RecentBudget) {
    this.#budget = budget
  }

  /** The newest state of a message in this run is of this seq, or of the change that shows it. Never goes back. */
  get asOf(): number {
    return this.#asOf
  }

  /** Changes that come by a read of the log as it was at this seq. */
  noteRead(asOf: number): void {
    this.#asOf = Math.max(this.#asOf, asOf)
  }

  get newestSeq(): number {
    return this.#changes.at(-1)?.seq ?? 0
  }

  /** Did a load bring what was before? Another one would bring no more. */
  get isLoaded(): boolean {
    return this.#isLoaded
  }

  /** Adds a change if it is the very next one, though not its turn to be delivered yet, or not any more. */
  follow(change: LoggedChange): void {
    const newest = this.#changes.at(-1)
    if (newest !== undefined && change.seq === newest.seq + 1) this.append(change)
  }

  /** Adds what follows; a gap begins the run anew. */
  append(change: LoggedChange): void {
    const before = this.bytes
    this.#push(change)
    this.#trim(recentBounds.changesMax)
    this.#account(before)
  }

  /** Takes in what a load gave, as far as it connects with what has come meanwhile; the newer run wins. */
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
        // Read before they were edited or deleted, maybe.
        const rewrites = collectRewrites(this.#changes)
        if (rewrites !== undefined) this.#rewrite(rewrites)
      }
      for (const change of read) this.#push(change)
      this.#isLoaded = true
    }
    this.#trim(recentBounds.changesMax)
    this.#account(before)
  }

  /** The log ends here: what was said to follow is not believed. */
  endAt(seq: number): void {
    const before = this.bytes
    while (this.newestSeq > seq) this.#bytes -= sizeOf(this.#changes.pop() as LoggedChange)
    this.#account(before)
  }

  /**
   * How old a page may be whose reader is sent the rest up to `to` from here; undefined when the rest is not here, or not as
   * it was then. Never older than an edit or a deletion: the text before it is shown no more (rule ERASE1).
   */
  oldestPageSeq(to: number): number | undefined {
    const first = this.#changes[0]
    if (first === undefined || to > this.newestSeq || this.#asOf > to) return undefined
    const lowest = Math.max(first.seq - 1, to - recentBounds.pageBehindMax)
    for (let seq = to; seq > lowest; seq--) {
      const change = this.#changes[seq - first.seq]
      if (change !== undefined && isRewrite(change)) return seq
    }
    return lowest
  }

  /** The changes `from` to `to`, or undefined when not all of them are here. */
  range(from: number, to: number): LoggedChange[] | undefined {
    if (from > to) return []
    const first = this.#changes[0]
    if (first === undefined || from < first.seq || to > this.newestSeq) return undefined
    this.#account(this.bytes)
    return this.#changes.slice(from - first.seq, to - first.seq + 1)
  }

  /** The changes `from` to `to` as they go to whoever lacks them, encoded once for all of those. */
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
    // As JSON and as it goes over the wire.
    this.#encoded = { from, to, frames, bytes: frames.reduce((sum, { frame }) => sum + 2 * frame.bytes, 0) }
    this.#account(before)
    return frames
  }

  /**
   * The seq after which everything up to `top` was written at or after `position`, walking down (see store/read-changes.ts);
   * undefined when the run does not reach that far.
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

  /** Quiet for a while: keeps what those who were away for a moment need. Called by the budget. */
  shrink(): void {
    this.#encoded = undefined
    this.#trim(recentBounds.quietChangesMax)
  }

  /** Called by the budget. */
  clear(): void {
    this.#changes = []
    this.#encoded = undefined
    this.#bytes = 0
    this.#isLoaded = false
  }

  /** Its feed is over: it counts no more, whoever still reads it. */
  retire(): void {
    this.#budget?.remove(this)
    this.#budget = undefined
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
    // As if it had been read by now: only for those who are members by now (rule ACL1).
    this.noteRead(newest)
    this.#encoded = undefined
  }

  #trim(changesMax: number): void {
    let drop = 0
    while (
      this.#changes.length - drop > changesMax ||
      (this.#bytes > recentBounds.bytesMax && this.#changes.length - drop > 1)
    ) {
      this.#bytes -= sizeOf(this.#changes[drop] as LoggedChange)
      drop++
    }
    // In place: a full run drops its oldest with every change that comes.
    if (drop > 0) this.#changes.splice(0, drop)
  }

  #account(before: number): void {
    this.#budget?.use(this, this.bytes - before)
  }
}

function sizeOf({ json }: LoggedChange): number {
  return json.length + recentBounds.overheadBytes
}
