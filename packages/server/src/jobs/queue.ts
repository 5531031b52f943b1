/**
 * The queue carries hints: "there may be work under this key". What has to be done stands in the database, and whoever
 * works claims it there. So a hint may be lost, come twice or come to several servers at once, and the dispatcher gives it
 * again when nothing happens (dispatcher.ts). Two implementations, in process and over Redis, pass the same suite.
 */

export type JobKind = 'webhook' | 'digest' | 'mail'

export interface Job {
  readonly kind: JobKind
  /** What to look at: a lane, a person, a mail. */
  readonly key: string
  /** Not before this much time has passed. */
  readonly delayMs?: number
}

/** Does what there is to do under a key, and says itself what went wrong: a queue listens to no rejection. */
export type JobWork = (job: Job) => Promise<void>

export interface JobQueue {
  /** Never throws; what cannot be taken is given again by the dispatcher. */
  add(jobs: readonly Job[]): void
  /** Undefined: as it should be. Otherwise why it goes slower. */
  problem(): string | undefined
  /** Takes no more, and waits for what is being worked on, within a bound. */
  close(): Promise<void>
}

export const queueBounds = {
  /** Worked on at a time by one server. */
  concurrency: 32,
  /** Waiting in one process, delayed ones included. */
  waitingMax: 10_000,
  closeTimeoutMs: 3_000,
} as const
