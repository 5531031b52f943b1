/**
 * Reports the health of this server to load balancers (`/readyz`) and to Prometheus: whether it may
 * receive traffic, which of its dependencies work, and how old its last sweep of the database is.
 * The server is not ready only without its database or while it stops. Without Redis it keeps
 * running, degraded.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Metrics } from '../support/metrics.ts'
import type { Health } from './operators.ts'

export interface HealthReportOptions {
  readonly metrics: Metrics
  readonly clock: Clock
  readonly hasDatabase: () => Promise<boolean>
  /**
   * Returns why Redis cannot be used, or undefined if it can. The function is absent when no Redis
   * is configured.
   */
  readonly redisProblem?: (() => string | undefined) | undefined
  readonly busProblem: () => string | undefined
  /** Returns why Redis may evict data, or undefined if it does not. */
  readonly evictionProblem?: (() => string | undefined) | undefined
  readonly isStopping: () => boolean
  /** Returns the time since the last complete sweep began. */
  readonly sweepAgeMs: () => number
  /** Returns how long the oldest write transaction of the database has been open. */
  readonly oldestTransactionMs: () => Promise<number>
}

const measureEveryMs = 5_000

export class HealthReport {
  readonly #options: HealthReportOptions
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: HealthReportOptions) {
    this.#options = options
  }

  start(): void {
    void this.#measure().finally(() => {
      if (!this.#isStopped) this.#timer = this.#options.clock.setTimer(() => this.start(), measureEveryMs)
    })
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  async ask(): Promise<Health> {
    const { metrics, hasDatabase, redisProblem, busProblem, evictionProblem, isStopping } = this.#options
    const isDatabaseThere = await hasDatabase()
    const redis = redisProblem?.()
    const bus = busProblem()
    const reasons = [
      bus,
      redis === bus ? undefined : redis,
      evictionProblem?.(),
      isDatabaseThere ? undefined : 'the database does not answer',
      isStopping() ? 'stopping' : undefined,
    ]
    const ready = isDatabaseThere && !isStopping()
    metrics.ready.set(ready ? 1 : 0)
    metrics.partUp.set({ part: 'database' }, isDatabaseThere ? 1 : 0)
    metrics.partUp.set({ part: 'bus' }, bus === undefined ? 1 : 0)
    if (redisProblem !== undefined) metrics.partUp.set({ part: 'redis' }, redis === undefined ? 1 : 0)
    return { ready, degraded: reasons.filter((reason) => reason !== undefined) }
  }

  async #measure(): Promise<void> {
    const { metrics, sweepAgeMs, oldestTransactionMs } = this.#options
    const { ready } = await this.ask()
    // The age of the sweep is infinite while the database epoch changes, but a gauge needs a finite
    // number.
    metrics.sweepAgeSeconds.set(Math.min(sweepAgeMs() / 1_000, 1e6))
    if (ready)
      await oldestTransactionMs().then(
        (ageMs) => metrics.oldestTransactionSeconds.set(ageMs / 1_000),
        () => undefined,
      )
  }
}
