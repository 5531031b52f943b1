/**
 * Reacts to hints from other servers that contain another database epoch: another server may have
 * noticed a failover or a restored backup first. It then reads the epoch from the database over a
 * new connection. There is a minimum time between two such checks, however many hints arrive.
 */
import type { Clock } from '../support/clock.ts'

/** Minimum time between two checks of the epoch. */
export const foreignEpochIntervalMs = 2_000

export interface EpochMismatchWatcherOptions {
  readonly clock: Clock
  /**
   * Reads the epoch from the database. If the epoch has changed, this function itself notifies the
   * rest of the server.
   */
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
   * Records that a hint over Redis with another epoch was dropped. Starts a check unless one ran
   * recently.
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
