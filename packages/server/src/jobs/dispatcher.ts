/**
 * Looks at what has to be done, in the database, and hints at it again when it has been due for a while and nobody works
 * on it: after a restart, after Redis was emptied, after a worker died. So no job depends on the queue.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Job } from './queue.ts'

export const dispatcherBounds = {
  intervalMs: 2_000,
  /** What is due for less is probably in the queue. */
  graceMs: 2_000,
  /** Hinted at again after so long without anything happening. */
  againMs: 15_000,
  /** Looked at in one turn, of each kind. */
  turnMax: 500,
  /** Old entries are removed so often. */
  tidyEveryMs: 10 * 60_000,
} as const

export interface DueOptions {
  readonly graceMs: number
  readonly againMs: number
  readonly max: number
}

/** One kind of work that stands in the database. */
export interface DueSource {
  takeDue(options: DueOptions): Promise<readonly Job[]>
  /** Tells the metrics how much there is. */
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
    this.#tidyAtMs = options.clock.nowMs() + dispatcherBounds.tidyEveryMs
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
      this.#turn = this.#look().then(() => this.#wait(this.#options.intervalMs ?? dispatcherBounds.intervalMs))
    }, delayMs)
  }

  async #look(): Promise<void> {
    const { sources, addJobs, clock, logger } = this.#options
    const isTidyTime = clock.nowMs() >= this.#tidyAtMs
    if (isTidyTime) this.#tidyAtMs = clock.nowMs() + dispatcherBounds.tidyEveryMs
    const { graceMs, againMs, turnMax: max } = dispatcherBounds
    for (const source of sources) {
      try {
        const jobs = await source.takeDue({ graceMs, againMs, max })
        if (jobs.length > 0) addJobs(jobs)
        await source.measure()
        if (isTidyTime) await source.tidy()
      } catch (error) {
        logger.debug({ err: error }, 'unable to look for due jobs; trying again')
      }
    }
  }
}
