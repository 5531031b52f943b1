/**
 * Regularly reads due mails and webhooks from the database, and adds to the queue those that no
 * worker has taken for a while: after a restart, after Redis was emptied, or after a worker died.
 * So no job depends on the queue.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Job } from './queue.ts'

export const dispatcherLimits = {
  intervalMs: 2_000,
  /**
   * Grace time: work that became due more recently is probably still in the queue, so it is
   * skipped.
   */
  graceMs: 2_000,
  /** Minimum time before the same unfinished work is added to the queue again. */
  againMs: 15_000,
  /** Maximum number of jobs per kind that one run of the dispatcher adds to the queue. */
  turnMax: 500,
  /** Time between two deletions of old mails and deliveries. */
  tidyEveryMs: 10 * 60_000,
} as const

export interface DueOptions {
  readonly graceMs: number
  readonly againMs: number
  readonly max: number
}

/** Kind of work (mail or webhook) whose due items are stored in the database. */
export interface DueSource {
  takeDue(options: DueOptions): Promise<readonly Job[]>
  /** Updates the metrics that count the waiting items. */
  measure(): Promise<void>
  tidy(): Promise<void>
}

export interface DispatcherOptions {
  readonly sources: readonly DueSource[]
  readonly addJobs: (jobs: readonly Job[]) => void
  readonly clock: Clock
  readonly logger: Logger
  readonly intervalMs?: number
}

export class Dispatcher {
  readonly #options: DispatcherOptions
  #timer: Timer | undefined
  #turn: Promise<void> | undefined
  #tidyAtMs: number
  #isStopped = false

  constructor(options: DispatcherOptions) {
    this.#options = options
    this.#tidyAtMs = options.clock.nowMs() + dispatcherLimits.tidyEveryMs
  }

  start(): void {
    this.#wait(0)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    await this.#turn
  }

  #wait(delayMs: number): void {
    if (this.#isStopped) return
    this.#timer = this.#options.clock.setTimer(() => {
      this.#turn = this.#look().then(() => this.#wait(this.#options.intervalMs ?? dispatcherLimits.intervalMs))
    }, delayMs)
  }

  async #look(): Promise<void> {
    const { sources, addJobs, clock, logger } = this.#options
    const isTidyTime = clock.nowMs() >= this.#tidyAtMs
    if (isTidyTime) this.#tidyAtMs = clock.nowMs() + dispatcherLimits.tidyEveryMs
    const { graceMs, againMs, turnMax: max } = dispatcherLimits
    for (const source of sources) {
      try {
        const jobs = await source.takeDue({ graceMs, againMs, max })
        if (jobs.length > 0) addJobs(jobs)
        await source.measure()
        if (isTidyTime) await source.tidy()
      } catch (error) {
        logger.debug({ err: error }, 'unable to read due jobs; trying again')
      }
    }
  }
}
