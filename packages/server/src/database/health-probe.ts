/**
 * Checks whether the database answers right now. All callers share one probe, and its result is
 * reused for a short time. So frequent balancer checks never take more than one connection, however
 * long the database hangs.
 */
import { setTimeout as pause } from 'node:timers/promises'

export const healthProbeTimings = { answerWithinMs: 1_000, reuseMs: 250 } as const

export class HealthProbe {
  readonly #ask: () => Promise<boolean>
  #running: Promise<boolean> | undefined
  #last: { readonly answer: boolean; readonly atMs: number } | undefined

  /** `ask` takes a connection and must release it within its own time limit. */
  constructor(ask: () => Promise<boolean>) {
    this.#ask = ask
  }

  /** Returns the result within a second. A slower database counts as unhealthy. */
  async isHealthy(): Promise<boolean> {
    if (this.#last !== undefined && performance.now() - this.#last.atMs < healthProbeTimings.reuseMs)
      return this.#last.answer
    this.#running ??= this.#run()
    return Promise.race([this.#running, pause(healthProbeTimings.answerWithinMs, false, { ref: false })])
  }

  async #run(): Promise<boolean> {
    const answer = await this.#ask().catch(() => false)
    this.#last = { answer, atMs: performance.now() }
    this.#running = undefined
    return answer
  }
}
