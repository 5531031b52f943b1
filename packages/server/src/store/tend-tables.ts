/**
 * What autovacuum does on a Postgres server and nobody does in the embedded engine: statistics, so that plans made while
 * a table was small are made anew, and the space of dead rows. Table by table, each its own statement, so that a send
 * waits for one of them at most. Failures only mean that it is tried again later.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Database } from './database.ts'

export const tendingBounds = { firstAfterMs: 60_000, everyMs: 10 * 60_000 } as const

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

/** Begins to tend the tables; the answer stops it. Does nothing on a Postgres server. */
export function tendTables(database: Database, clock: Clock, onProblem: (problem: unknown) => void): () => void {
  if (database.engine !== 'embedded') return () => undefined
  let timer: Timer = clock.setTimer(tend, tendingBounds.firstAfterMs)
  return () => timer.cancel()

  function tend(): void {
    tendOnce(database)
      .catch(onProblem)
      .finally(() => {
        timer = clock.setTimer(tend, tendingBounds.everyMs)
      })
  }
}

export async function tendOnce(database: Database): Promise<void> {
  for (const table of tables) await database.script(`vacuum (analyze) ${table}`)
}
