/**
 * Vacuums and analyzes the tables of the embedded engine, as autovacuum does on a Postgres server.
 * Fresh statistics replace query plans that were made while a table was small, and the space of
 * dead rows is freed. Each table is a separate statement, so sending a message waits for at most
 * one table. A failure only delays the work until the next run.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Database } from './database.ts'

export const maintenanceTimings = { firstAfterMs: 60_000, everyMs: 10 * 60_000 } as const

const tables = [
  'changes',
  'conversations',
  'members',
  'reactions',
  'reaction_counts',
  'searched_names',
  'name_parts',
  'sessions',
  'users',
  'consumers',
  'consumer_progress',
  'webhook_deliveries',
  'webhook_lanes',
  'mail_due',
  'mails',
]

/**
 * Starts to maintain the tables at intervals. Returns a function that stops the timer. Does nothing
 * on a Postgres server.
 */
export function maintainTables(database: Database, clock: Clock, onProblem: (problem: unknown) => void): () => void {
  if (database.engine !== 'embedded') return () => undefined
  let timer: Timer = clock.setTimer(tend, maintenanceTimings.firstAfterMs)
  return () => timer.cancel()

  function tend(): void {
    tendOnce(database)
      .catch(onProblem)
      .finally(() => {
        timer = clock.setTimer(tend, maintenanceTimings.everyMs)
      })
  }
}

export async function tendOnce(database: Database): Promise<void> {
  for (const table of tables) await database.script(`vacuum (analyze) ${table}`)
}
