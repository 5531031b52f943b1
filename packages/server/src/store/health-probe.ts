/**
 * Can the database be asked right now? Whoever wants to know shares one probe, and its answer for a moment after, so that
 * no balancer's curiosity takes more than one connection, however long the database hangs.
 */
import { setTimeout as pause } from 'node:timers/promises'

export const probeBounds = { answerWithinMs: 1_000, reuseMs: 250 } as const

export class HealthProbe {
  readonly #ask: () => Promise<boolean>
  #running: Promise<boolean> | undefined
  #last: { readonly answer: boolean; readonly atMs: number } | undefined

  /** `ask` takes a connection and gives it back within a bound of its own. */
  constructor(ask: () => Promise<boolean>) {
    this.#ask = ask
  }

  /** Answers within a second; what takes longer is no. */
  async isHealthy(): Promise<boolean> {
    if (this.#last !== undefined && performance.now() - this.#last.atMs < probeBounds.reuseMs) return this.#last.answer
    this.#running ??= this.#run()
    return Promise.race([this.#running, pause(probeBounds.answerWithinMs, false, { ref: false })])
  }

  async #run(): Promise<boolean> {
    const answer = await this.#ask().catch(() => false)
    this.#last = { answer, atMs: performance.now() }
    this.#running = undefined
    return answer
  }
}
