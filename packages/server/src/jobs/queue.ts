/**
 * A queue of hints. A hint says "there may be work under this key". The work itself is stored in
 * the database, and a worker claims it there. So a hint may be lost, arrive twice or reach several
 * servers at once: the dispatcher adds it again while the work stays undone (dispatcher.ts).
 *
 * There are two implementations, in process and over Redis. Both pass the same contract suite.
 */

export type JobKind = 'webhook' | 'digest' | 'mail'

export interface Job {
  readonly kind: JobKind
  /** Id of the work: a lane (`webhook`), a user (`digest`) or a mail (`mail`). */
  readonly key: string
  /** Minimum time before a worker may take the job. */
  readonly delayMs?: number
}

/** Runs all due work for a key. Must handle its own errors: the queue ignores rejections. */
export type JobWork = (job: Job) => Promise<void>

export interface JobQueue {
  /** Adds jobs; never throws. The dispatcher later adds dropped jobs again. */
  add(jobs: readonly Job[]): void
  /** Returns the reason why the queue works in degraded mode, or undefined when it is healthy. */
  problem(): string | undefined
  /** Stops taking jobs and waits for running jobs, up to a time limit. */
  close(): Promise<void>
}

export const queueLimits = {
  /** Maximum number of jobs that one server runs at a time. */
  concurrency: 32,
  /** Maximum number of jobs waiting in one process, including delayed jobs. */
  waitingMax: 10_000,
  closeTimeoutMs: 3_000,
} as const
