/**
 * What this server says of itself, to balancers (`/readyz`) and to Prometheus: may it get traffic, which of the parts it
 * stands on can be used, how far its knowledge of the database reaches back. Not ready is only what makes it useless: the
 * database away, or leaving. Without Redis it goes on, degraded.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Metrics } from '../support/metrics.ts'
import type { Health } from './operators.ts'

export interface HealthReportOptions {
  readonly metrics: Metrics
  readonly clock: Clock
  readonly hasDatabase: () => Promise<boolean>
  /** Why Redis cannot be used; undefined: it can. Left out where there is none. */
  readonly redisProblem?: (() => string | undefined) | undefined
  readonly busProblem: () => string | undefined
  /** Why what is in Redis may vanish; undefined: it stays. */
  readonly evictionProblem?: (() => string | undefined) | undefined
  readonly isStopping: () => boolean
  /** How long ago the last whole sweep began. */
  readonly sweepAgeMs: () => number
  /** How long the oldest write transaction of the database has been open. */
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
      isDatabaseThere ? undefined : 'the database cannot be asked',
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
    // Endless while the history is being changed; a gauge has a number.
    metrics.sweepAgeSeconds.set(Math.min(sweepAgeMs() / 1_000, 1e6))
    if (ready)
      await oldestTransactionMs().then(
        (ageMs) => metrics.oldestTransactionSeconds.set(ageMs / 1_000),
        () => undefined,
      )
  }
}
