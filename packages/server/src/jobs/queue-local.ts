/**
 * Job queue in one process. Used with the embedded database and by servers that have lost Redis. It
 * keeps one entry per waiting key, runs a limited number of jobs at a time, and drops jobs above
 * its limit. The dispatcher adds dropped jobs again.
 */
import type { Clock, Timer } from '../support/clock.ts'
import { type Job, type JobQueue, type JobWork, queueLimits } from './queue.ts'

export interface LocalQueueOptions {
  readonly work: JobWork
  readonly clock: Clock
  readonly concurrency?: number
  readonly waitingMax?: number
}

const nameOf = ({ kind, key }: Job): string => `${kind} ${key}`

export class LocalQueue implements JobQueue {
  readonly #work: JobWork
  readonly #clock: Clock
  readonly #concurrency: number
  readonly #waitingMax: number
  /** Waiting jobs by kind and key, in order of arrival. */
  readonly #waiting = new Map<string, Job>()
  readonly #delayed = new Set<Timer>()
  readonly #running = new Set<Promise<void>>()
  #isClosed = false

  constructor({ work, clock, concurrency, waitingMax }: LocalQueueOptions) {
    this.#work = work
    this.#clock = clock
    this.#concurrency = concurrency ?? queueLimits.concurrency
    this.#waitingMax = waitingMax ?? queueLimits.waitingMax
  }

  add(jobs: readonly Job[]): void {
    for (const job of jobs) this.#take(job)
    this.#fill()
  }

  problem(): undefined {
    return undefined
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#waiting.clear()
    for (const timer of this.#delayed) timer.cancel()
    this.#delayed.clear()
    const late = new Promise<void>((resolve) => void this.#clock.setTimer(resolve, queueLimits.closeTimeoutMs))
    await Promise.race([Promise.all(this.#running), late])
  }

  #take(job: Job): void {
    if (this.#isClosed || this.#waiting.size + this.#delayed.size >= this.#waitingMax) return
    if ((job.delayMs ?? 0) <= 0) {
      this.#waiting.set(nameOf(job), job)
      return
    }
    const timer = this.#clock.setTimer(() => {
      this.#delayed.delete(timer)
      this.#waiting.set(nameOf(job), job)
      this.#fill()
    }, job.delayMs ?? 0)
    this.#delayed.add(timer)
  }

  #fill(): void {
    for (const [name, job] of this.#waiting) {
      if (this.#isClosed || this.#running.size >= this.#concurrency) return
      this.#waiting.delete(name)
      const running = this.#work(job)
        .catch(() => undefined)
        .finally(() => {
          this.#running.delete(running)
          this.#fill()
        })
      this.#running.add(running)
    }
  }
}
