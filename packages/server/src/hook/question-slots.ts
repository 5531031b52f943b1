/**
 * Limits the number of questions that the hook answers at once. Further questions wait in order, in
 * a bounded queue and for a bounded time (rule LIM1).
 */
import type { Clock, Timer } from '../support/clock.ts'

export const slotLimits = {
  /** Maximum number of questions in progress. */
  concurrentMax: 64,
  /** Maximum number of questions that wait for one of them to end. */
  waitingMax: 1_000,
  /** Maximum time that a question waits. */
  waitMs: 1_000,
} as const

interface Waiting {
  readonly start: () => void
  readonly timer: Timer
}

export class QuestionSlots {
  readonly #clock: Clock
  #used = 0
  readonly #waiting = new Set<Waiting>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Resolves to true when the question may begin, or to false if too many are waiting. */
  async take(): Promise<boolean> {
    if (this.#used < slotLimits.concurrentMax) {
      this.#used++
      return true
    }
    if (this.#waiting.size >= slotLimits.waitingMax) return false
    return new Promise((resolve) => {
      const waiting: Waiting = {
        start: () => {
          waiting.timer.cancel()
          this.#waiting.delete(waiting)
          resolve(true)
        },
        timer: this.#clock.setTimer(() => {
          this.#waiting.delete(waiting)
          resolve(false)
        }, slotLimits.waitMs),
      }
      this.#waiting.add(waiting)
    })
  }

  /** Ends a question that {@link take} has let begin. */
  release(): void {
    const [next] = this.#waiting
    if (next === undefined) this.#used--
    else next.start()
  }
}
