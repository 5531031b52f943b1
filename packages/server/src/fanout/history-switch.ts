/**
 * From one history of the database to another (a restored backup, a failover; rule RES2). What was known of the one before
 * is dropped in the same turn in which the new one is seen; service begins again when the new one has told where it
 * stands, which is asked until it is answered.
 */
import type { Clock, Timer } from '../support/clock.ts'

export const historyRetryMs = 300

export interface HistorySwitchOptions {
  /** Drops everything of the history before. */
  readonly onLeft: () => void
  /** Serves the new one from here on. */
  readonly onBegun: (position: number) => void
  readonly readPosition: () => Promise<number>
  readonly clock: Clock
  readonly onFailed: (error: unknown) => void
}

export class HistorySwitch {
  readonly #options: HistorySwitchOptions
  /** Counts the histories: a position of an earlier one says nothing about this. */
  #turn = 0
  #timer: Timer | undefined

  constructor(options: HistorySwitchOptions) {
    this.#options = options
  }

  begin(): void {
    this.#turn++
    this.#timer?.cancel()
    this.#options.onLeft()
    void this.#find(this.#turn)
  }

  stop(): void {
    this.#turn++
    this.#timer?.cancel()
  }

  async #find(turn: number): Promise<void> {
    const { readPosition, onBegun, onFailed, clock } = this.#options
    try {
      const position = await readPosition()
      if (turn === this.#turn) onBegun(position)
    } catch (error) {
      if (turn !== this.#turn) return
      onFailed(error)
      this.#timer = clock.setTimer(() => void this.#find(turn), historyRetryMs)
    }
  }
}
