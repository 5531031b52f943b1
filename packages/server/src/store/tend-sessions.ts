/**
 * Deletes sessions that have been over for long, now and then and in bounded batches, by whichever server gets to it: the
 * others find the work done or under way. Failures only mean that it is tried again later.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Database } from './database.ts'
import { deleteOldSessions } from './sessions.ts'

export const sessionTending = {
  firstAfterMs: 120_000,
  everyMs: 60 * 60_000,
  /** How long after its end a session is kept. The sweep looks back seconds, and what is cached counts for a minute. */
  overDays: 7,
  batchMax: 500,
  /** Batches in a row; the rest waits for the next time. */
  batchesMax: 40,
} as const

/** Begins to tend the sessions; the answer stops it. */
export function tendSessions(database: Database, clock: Clock, onProblem: (problem: unknown) => void): () => void {
  let isStopped = false
  let timer: Timer = clock.setTimer(tend, sessionTending.firstAfterMs)
  return () => {
    isStopped = true
    timer.cancel()
  }

  function tend(): void {
    tendSessionsOnce(database, () => isStopped)
      .catch(onProblem)
      .finally(() => {
        if (!isStopped) timer = clock.setTimer(tend, sessionTending.everyMs)
      })
  }
}

/** How many sessions were deleted. */
export async function tendSessionsOnce(database: Database, isStopped: () => boolean = () => false): Promise<number> {
  const { overDays, batchMax, batchesMax } = sessionTending
  let deleted = 0
  for (let batch = 0; batch < batchesMax && !isStopped(); batch++) {
    const count = await deleteOldSessions(database, overDays, batchMax)
    deleted += count
    if (count < batchMax) break
  }
  return deleted
}
