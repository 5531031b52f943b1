/**
 * One memory limit for the recent changes of all conversations (rule LIM1). Without it, 50 000
 * conversations that each use their own limit would take gigabytes. Beyond the limit, the least
 * recently used caches are emptied. A cache unused for ten seconds keeps only its newest changes.
 *
 * Two lists contain the caches in order of use: `lively` those used in the last ten seconds,
 * `quiet` the others. A cache moves in the lists at most once a second, so that a message costs
 * only a comparison.
 */
import type { Clock, Timer } from '../support/clock.ts'

export const recentMemoryLimits = {
  bytesMax: 64 * 1024 * 1024,
  tickMs: 1_000,
  /** Number of ticks (seconds) without use after which a cache is quiet. */
  quietTicks: 10,
  /**
   * Maximum number of caches shrunk per tick, so that no tick takes long. The others wait for the
   * next tick.
   */
  shrinksPerTickMax: 2_000,
} as const

/** A cache of recent changes that counts against the limit. */
interface Kept {
  readonly bytes: number
  usedInTick: number
  shrink(): void
  clear(): void
}

export class RecentChangesMemoryLimit {
  readonly #clock: Clock
  readonly #bytesMax: number
  /** Caches used in the last ten seconds, least recently used first. */
  readonly #lively = new Set<Kept>()
  readonly #quiet = new Set<Kept>()
  #bytes = 0
  #tick = 0
  #timer: Timer | undefined

  constructor(clock: Clock, bytesMax: number = recentMemoryLimits.bytesMax) {
    this.#clock = clock
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Records that a cache was used and that its size changed by `bytesMore`. */
  use(kept: Kept, bytesMore: number): void {
    if (kept.usedInTick !== this.#tick) {
      this.#quiet.delete(kept)
      this.#lively.delete(kept)
      this.#lively.add(kept)
      // A cache that was not counted before is added with its full size.
      if (kept.usedInTick < 0) this.#bytes += kept.bytes - bytesMore
      kept.usedInTick = this.#tick
      this.#timer ??= this.#clock.setTimer(() => this.#shrinkQuiet(), recentMemoryLimits.tickMs)
    }
    this.#bytes += bytesMore
    if (this.#bytes > this.#bytesMax) this.#evict()
  }

  /** Stops counting a cache against the limit. */
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
      if (this.#tick - kept.usedInTick < recentMemoryLimits.quietTicks) break
      if (shrinks++ >= recentMemoryLimits.shrinksPerTickMax) break
      const before = kept.bytes
      kept.shrink()
      this.#bytes -= before - kept.bytes
      this.#lively.delete(kept)
      this.#quiet.add(kept)
    }
    if (this.#lively.size > 0) this.#timer = this.#clock.setTimer(() => this.#shrinkQuiet(), recentMemoryLimits.tickMs)
  }
}
