/**
 * For how long the oldest transaction that writes has been open, as far as this server has seen: while one is, no cursor and
 * no sweep moves past it (docs/decisions/0005). Seen by the snapshot's own lower end standing still, which needs no rights
 * over other people's sessions.
 */
import type { Clock } from '../support/clock.ts'
import type { Database } from './database.ts'

export class OldestTransaction {
  readonly #database: Database
  readonly #clock: Clock
  #seen: { readonly xmin: string; readonly sinceMs: number } | undefined

  constructor(database: Database, clock: Clock) {
    this.#database = database
    this.#clock = clock
  }

  /** Asks the database. Rejects when it cannot be asked. */
  async ageMs(): Promise<number> {
    const [row] = await this.#database.query<{ xmin: string; is_open: boolean }>({
      name: 'oldest-transaction',
      text: `select pg_snapshot_xmin(s)::text as xmin, pg_snapshot_xmin(s) < pg_snapshot_xmax(s) as is_open
               from pg_current_snapshot() s`,
    })
    if (row?.is_open !== true) {
      this.#seen = undefined
      return 0
    }
    const nowMs = this.#clock.nowMs()
    if (this.#seen?.xmin !== row.xmin) this.#seen = { xmin: row.xmin, sinceMs: nowMs }
    return nowMs - this.#seen.sinceMs
  }
}
