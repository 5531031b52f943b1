/** A clock that stands still until a test moves it. */
import type { Clock } from '../clock.ts'

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

  /** The time until the next timer. */
  get nextInMs(): number | undefined {
    const next = Math.min(...this.#timers.map(({ atMs }) => atMs))
    return Number.isFinite(next) ? next - this.#nowMs : undefined
  }

  /** Moves on, and runs what is due in order; promises settle between timers. */
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

  /** The wall clock jumps, as after a sleep or a correction. */
  jump(byMs: number): void {
    this.#wallOffsetMs += byMs
  }
}

/** Lets everything that is ready happen. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}
