/**
 * Checks whether the database answers right now. All callers share one probe query, and its result
 * is reused for a short time. So frequent checks by load balancers never take more than one
 * connection, however long the database hangs.
 */
import { setTimeout as pause } from 'node:timers/promises'

export const healthProbeTimings = { answerWithinMs: 1_000, reuseMs: 250 } as const

export class HealthProbe {
  readonly #ask: () => Promise<boolean>
  #running: Promise<boolean> | undefined
  #last: { readonly answer: boolean; readonly atMs: number } | undefined

  /**
   * @param ask - runs the probe query; it must release its connection within a time limit of its
   * own
   */
  constructor(ask: () => Promise<boolean>) {
    this.#ask = ask
  }

  /**
   * Returns whether the database is healthy, within a second. A slower database counts as
   * unhealthy.
   */
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
