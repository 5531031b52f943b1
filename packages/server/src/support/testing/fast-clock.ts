/** Clock that runs faster than real time by a factor, for tests with a real Redis or database. */
import { type Clock, systemClock, type Timer } from '../clock.ts'

export class FastClock implements Clock {
  readonly #factor: number

  constructor(factor: number) {
    this.#factor = factor
  }

  nowMs(): number {
    return systemClock.nowMs() * this.#factor
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    return systemClock.setTimer(callback, delayMs / this.#factor)
  }
}
