/**
 * Deletes sessions that ended long ago, at intervals and in limited batches. Every server may do
 * this: one server deletes, and the others then find nothing to delete. A failure only delays the
 * deletion until the next run.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Database } from '../database/database.ts'
import { deleteOldSessions } from './sessions.ts'

export const sessionTending = {
  firstAfterMs: 120_000,
  everyMs: 60 * 60_000,
  /**
   * Days for which an ended session is kept. This is more than enough: sweeps look back only
   * seconds, and cached sessions are valid for a minute.
   */
  overDays: 7,
  batchMax: 500,
  /** Maximum number of batches in one run. Remaining sessions wait for the next run. */
  batchesMax: 40,
} as const

/**
 * Starts to delete old sessions at intervals. Returns a function that stops the timer. `pruneMore`
 * then deletes other old rows, also in limited batches.
 */
export function pruneSessions(
  database: Database,
  clock: Clock,
  onProblem: (problem: unknown) => void,
  pruneMore: (isStopped: () => boolean) => Promise<unknown> = async () => undefined,
): () => void {
  let isStopped = false
  let timer: Timer = clock.setTimer(tend, sessionTending.firstAfterMs)
  return () => {
    isStopped = true
    timer.cancel()
  }

  function tend(): void {
    tendSessionsOnce(database, () => isStopped)
      .then(() => pruneMore(() => isStopped))
      .catch(onProblem)
      .finally(() => {
        if (!isStopped) timer = clock.setTimer(tend, sessionTending.everyMs)
      })
  }
}

/** Deletes old sessions and returns their number. */
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
