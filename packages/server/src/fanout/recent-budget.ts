/**
 * One budget of bytes for the recent changes of all conversations (rule LIM1): 50 000 rooms at their own bound would be
 * gigabytes. Past it those unused for longest lose theirs, and what was quiet for ten seconds keeps only its newest.
 *
 * Two lists in the order of use, the lively and the quiet; a conversation moves within them once a second at most, so that a
 * message costs a comparison.
 */
import type { Clock, Timer } from '../support/clock.ts'

export const recentBudgetBounds = {
  bytesMax: 64 * 1024 * 1024,
  tickMs: 1_000,
  /** Unused for so many ticks is quiet. */
  quietTicks: 10,
  /** The others wait for the next tick, so that none takes long. */
  shrinksPerTickMax: 2_000,
} as const

/** What counts against the budget. */
interface Kept {
  readonly bytes: number
  usedInTick: number
  shrink(): void
  clear(): void
}

export class RecentBudget {
  readonly #clock: Clock
  readonly #bytesMax: number
  /** Least recently used first. */
  readonly #lively = new Set<Kept>()
  readonly #quiet = new Set<Kept>()
  #bytes = 0
  #tick = 0
  #timer: Timer | undefined

  constructor(clock: Clock, bytesMax: number = recentBudgetBounds.bytesMax) {
    this.#clock = clock
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** It was used, and holds so much more, or less. */
  use(kept: Kept, bytesMore: number): void {
    if (kept.usedInTick !== this.#tick) {
      this.#quiet.delete(kept)
      this.#lively.delete(kept)
      this.#lively.add(kept)
      // Joins the budget with all that it holds.
      if (kept.usedInTick < 0) this.#bytes += kept.bytes - bytesMore
      kept.usedInTick = this.#tick
      this.#timer ??= this.#clock.setTimer(() => this.#shrinkQuiet(), recentBudgetBounds.tickMs)
    }
    this.#bytes += bytesMore
    if (this.#bytes > this.#bytesMax) this.#evict()
  }

  /** It is not kept any more, with all that it holds. */
  remove(kept: Kept): void {
    if (kept.usedInTick < 0) return
    this.#quiet.delete(kept)
    this.#lively.delete(kept)
    this.#bytes -= kept.bytes
    kept.usedInTick = -1
  }

  #evict(): void {
    for (const list of [this.#quiet, this.#lively])
      for (const oldest of list) {
        if (this.#bytes <= this.#bytesMax) return
        this.remove(oldest)
        oldest.clear()
      }
  }

  #shrinkQuiet(): void {
    this.#timer = undefined
    this.#tick++
    let shrinks = 0
    for (const kept of this.#lively) {
      if (this.#tick - kept.usedInTick < recentBudgetBounds.quietTicks) break
      if (shrinks++ >= recentBudgetBounds.shrinksPerTickMax) break
      const before = kept.bytes
      kept.shrink()
      this.#bytes -= before - kept.bytes
      this.#lively.delete(kept)
      this.#quiet.add(kept)
    }
    if (this.#lively.size > 0) this.#timer = this.#clock.setTimer(() => this.#shrinkQuiet(), recentBudgetBounds.tickMs)
  }
}
