/**
 * Handles a new database epoch, after a failover or a restored backup (rule RES2). All state of the
 * old epoch is dropped in the same turn of the event loop in which the new epoch is noticed. The
 * server serves clients again when it knows the position in the new epoch. It asks the database for
 * this position until the database answers.
 */
import type { Clock, Timer } from '../support/clock.ts'

export const historyRetryMs = 300

export interface EpochTransitionOptions {
  /** Drops all state of the old epoch. */
  readonly onLeft: () => void
  /** Starts to serve the new epoch from this position. */
  readonly onBegun: (position: number) => void
  readonly readPosition: () => Promise<number>
  readonly clock: Clock
  readonly onFailed: (error: unknown) => void
}

export class EpochTransition {
  readonly #options: EpochTransitionOptions
  /**
   * Number of epochs so far. It shows whether a position was read in an earlier epoch, and must be
   * ignored.
   */
  #turn = 0
  #timer: Timer | undefined

  constructor(options: EpochTransitionOptions) {
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
