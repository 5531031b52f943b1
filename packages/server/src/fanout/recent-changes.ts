/**
 * The newest changes of one conversation, kept while it is served: what a resume or a join needs is mostly here, so that
 * the database is read for it at most once per conversation however many clients come back (rule LIM2).
 *
 * Always a consecutive run of seqs that ends at the newest known one. What came by a read says as of which seq: a message in
 * it is as it was then, so it is for those who were seen to be members at that seq or later (rule ACL1).
 */
import type { LoggedChange } from '../support/logged-change.ts'

export const recentBounds = { changesMax: 256, bytesMax: 262_144 } as const

export class RecentChanges {
  #changes: LoggedChange[] = []
  #bytes = 0
  #asOf = 0

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

  /** Adds what follows; a gap begins the run anew. */
  append(changes: readonly LoggedChange[]): void {
    for (const change of changes) {
      if (change.seq <= this.newestSeq) continue
      if (this.#changes.length > 0 && change.seq !== this.newestSeq + 1) this.#clear()
      this.#changes.push(change)
      this.#bytes += change.json.length
    }
    this.#trim()
  }

  /** Puts older changes before the run, as far as they connect and fit. */
  prepend(older: readonly LoggedChange[]): void {
    if (this.#changes.length === 0) {
      this.append(older)
      return
    }
    const first = this.#changes[0] as LoggedChange
    const fitting = older.filter((change) => change.seq < first.seq)
    if (fitting.at(-1)?.seq !== first.seq - 1) return
    this.#changes = [...fitting, ...this.#changes]
    this.#bytes += fitting.reduce((sum, change) => sum + change.json.length, 0)
    this.#trim()
  }

  /** The changes `from` to `to`, or undefined when not all of them are here. */
  range(from: number, to: number): LoggedChange[] | undefined {
    if (from > to) return []
    const first = this.#changes[0]
    if (first === undefined || from < first.seq || to > this.newestSeq) return undefined
    return this.#changes.slice(from - first.seq, to - first.seq + 1)
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

  #trim(): void {
    let drop = 0
    while (
      this.#changes.length - drop > recentBounds.changesMax ||
      (this.#bytes > recentBounds.bytesMax && this.#changes.length - drop > 1)
    ) {
      this.#bytes -= (this.#changes[drop] as LoggedChange).json.length
      drop++
    }
    if (drop > 0) this.#changes = this.#changes.slice(drop)
  }

  #clear(): void {
    this.#changes = []
    this.#bytes = 0
  }
}
