/**
 * Measures how long the oldest writing transaction of the database has been open, as seen by this
 * server. While it is open, no cursor or sweep position moves past it (docs/decisions/0005). The
 * transaction is detected by an unchanged xmin of the snapshot, which needs no right to see other
 * sessions.
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

  /**
   * Returns the age of the oldest open transaction in milliseconds. Rejects when the database does
   * not answer.
   */
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
