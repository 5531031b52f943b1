/**
 * Reacts to hints that name another database epoch: another server may have seen a failover or a
 * restored backup first. It then asks the database for its epoch over a new connection. The
 * interval between two checks is bounded, whatever the hints name.
 */
import type { Clock } from '../support/clock.ts'

/** Minimum time between two checks. */
export const foreignEpochIntervalMs = 2_000

export interface EpochMismatchWatcherOptions {
  readonly clock: Clock
  /** Checks the epoch; reports a changed epoch by its own callbacks. */
  readonly recheck: () => Promise<void>
  readonly onFailed: (error: unknown) => void
}

export class EpochMismatchWatcher {
  readonly #options: EpochMismatchWatcherOptions
  #isAsking = false
  #lastAskMs = Number.NEGATIVE_INFINITY

  constructor(options: EpochMismatchWatcherOptions) {
    this.#options = options
  }

  /**
   * Records that a hint of another epoch was dropped, and starts a check unless one ran recently.
   */
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
