/** Clock for tests. Its time moves only when a test moves it. */
import type { Clock } from '../support/clock.ts'

export class ManualClock implements Clock {
  #nowMs = 0
  #wallOffsetMs = Date.parse('2026-01-01T00:00:00.000Z')
  #timers: { readonly atMs: number; readonly run: () => void }[] = []
  nextRandom = 0.5

  readonly now = (): number => this.#nowMs
  readonly wallNow = (): number => this.#nowMs + this.#wallOffsetMs
  readonly random = (): number => this.nextRandom

  readonly after = (delayMs: number, run: () => void): (() => void) => {
    const timer = { atMs: this.#nowMs + delayMs, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer)
    }
  }

  get timers(): number {
    return this.#timers.length
  }

  /** Time in milliseconds until the next timer, or undefined without timers. */
  get nextInMs(): number | undefined {
    const next = Math.min(...this.#timers.map(({ atMs }) => atMs))
    return Number.isFinite(next) ? next - this.#nowMs : undefined
  }

  /**
   * Moves the time forward and runs the due timers in order. Pending promises are resolved between
   * timers.
   */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs
    await settle()
    for (;;) {
      const [next] = this.#timers.filter(({ atMs }) => atMs <= endMs).sort((left, right) => left.atMs - right.atMs)
      if (next === undefined) break
      this.#timers = this.#timers.filter((one) => one !== next)
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.run()
      await settle()
    }
    this.#nowMs = endMs
  }

  /** Moves only the wall clock, as a sleep or a clock correction does. */
  jump(byMs: number): void {
    this.#wallOffsetMs += byMs
  }
}

/** Waits one turn of the event loop, so that the callbacks of resolved or rejected promises run. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}
