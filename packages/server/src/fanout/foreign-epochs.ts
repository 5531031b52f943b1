/**
 * Hints that name another history than the one served here: another server may have seen a failover or a restored backup
 * first. Then the database is asked over a new connection which history it shows; at most so often, whatever is named.
 */
import type { Clock } from '../support/clock.ts'

/** Shortest time between two asks. */
export const foreignEpochIntervalMs = 2_000

export interface ForeignEpochsOptions {
  readonly clock: Clock
  /** Tells of a changed history by its own ways. */
  readonly recheck: () => Promise<void>
  readonly onFailed: (error: unknown) => void
}

export class ForeignEpochs {
  readonly #options: ForeignEpochsOptions
  #isAsking = false
  #lastAskMs = Number.NEGATIVE_INFINITY

  constructor(options: ForeignEpochsOptions) {
    this.#options = options
  }

  /** A hint of another history was dropped. */
  note(): void {
    const { clock, recheck, onFailed } = this.#options
    const nowMs = clock.nowMs()
    if (this.#isAsking || nowMs - this.#lastAskMs < foreignEpochIntervalMs) return
    this.#isAsking = true
    this.#lastAskMs = nowMs
    recheck()
      .catch(onFailed)
      .finally(() => {
        this.#isAsking = false
      })
  }
}
