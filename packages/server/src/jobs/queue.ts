/**
 * Job queue. A job only hints that there may be work under a key. The work itself is stored in the
 * database, where a worker claims it. So a job may be lost, arrive twice or reach several servers
 * at once: while the work is not done, the dispatcher adds the job again (dispatcher.ts).
 *
 * There are two implementations, in one process and over Redis. Both pass the same contract suite.
 */

export type JobKind = 'webhook' | 'digest' | 'mail'

export interface Job {
  readonly kind: JobKind
  /**
   * Id of the work: a webhook lane (one conversation and one endpoint), a user (`digest`) or a mail
   * (`mail`).
   */
  readonly key: string
  /** Minimum time before a worker may take the job. */
  readonly delayMs?: number
}

/** Runs all due work for a key. Must handle its own errors: the queue ignores rejections. */
export type JobWork = (job: Job) => Promise<void>

export interface JobQueue {
  /** Adds jobs. Never throws. If a job is dropped, the dispatcher adds it again later. */
  add(jobs: readonly Job[]): void
  /** Returns the reason why the queue works in degraded mode, or undefined when it is healthy. */
  problem(): string | undefined
  /** Stops taking jobs and waits for running jobs, for a limited time. */
  close(): Promise<void>
}

export const queueLimits = {
  /** Maximum number of jobs that one server runs at a time. */
  concurrency: 32,
  /** Maximum number of jobs waiting in one process, including delayed jobs. */
  waitingMax: 10_000,
  closeTimeoutMs: 3_000,
} as const
