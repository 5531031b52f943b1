/**
 * Stores when users were last connected. The writes are late and best effort: delivery never
 * depends on these times. Departures are collected for half a second: if a thousand connections
 * break at once, that costs one statement instead of a thousand (rule LIM2).
 */
import type { Id } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import type { Database } from '../database/database.ts'

export const lastSeenLimits = {
  gatherMs: 500,
  perStatement: 1_000,
  /**
   * Maximum number of users whose last-seen time waits to be written. Beyond it, the oldest entries
   * are dropped.
   */
  waitingMax: 50_000,
} as const

export interface LastSeen {
  readonly user: Id
  /** Time when the user was last connected, as ISO text by the database's clock. */
  readonly at: string
}

export interface LastSeenWriterOptions {
  readonly database: Database
  readonly clock: Clock
  readonly onProblem: (problem: unknown) => void
}

export class LastSeenWriter {
  readonly #options: LastSeenWriterOptions
  readonly #waiting = new Map<Id, string>()
  #timer: Timer | undefined
  /** Write statement in progress. Only one runs at a time. */
  #writing: Promise<void> | undefined

  constructor(options: LastSeenWriterOptions) {
    this.#options = options
  }

  note(seen: readonly LastSeen[]): void {
    for (const { user, at } of seen) {
      const known = this.#waiting.get(user)
      this.#waiting.delete(user)
      this.#waiting.set(user, known === undefined || Date.parse(at) > Date.parse(known) ? at : known)
      if (this.#waiting.size <= lastSeenLimits.waitingMax) continue
      const [oldest] = this.#waiting.keys()
      if (oldest !== undefined) this.#waiting.delete(oldest)
    }
    if (this.#waiting.size > 0)
      this.#timer ??= this.#options.clock.setTimer(() => void this.flush(), lastSeenLimits.gatherMs)
  }

  /**
   * Resolves when every last-seen time noted before this call has been written, or its write has
   * failed.
   */
  async flush(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    while (this.#writing !== undefined) await this.#writing
    this.#writing = this.#write().finally(() => {
      this.#writing = undefined
    })
    await this.#writing
  }

  async #write(): Promise<void> {
    while (this.#waiting.size > 0) {
      const seen: LastSeen[] = []
      for (const [user, at] of this.#waiting) {
        if (seen.length >= lastSeenLimits.perStatement) break
        this.#waiting.delete(user)
        seen.push({ user, at })
      }
      try {
        await saveLastSeen(this.#options.database, seen)
      } catch (error) {
        this.#options.onProblem(error)
      }
    }
  }
}

export async function readLastSeen(database: Database, users: readonly Id[]): Promise<Map<Id, string | null>> {
  const rows = await database.query<{ id: Id; last_seen_at: string | null }>({
    name: 'read_last_seen',
    text: 'select id, last_seen_at from users where id = any($1::uuid[])',
    values: [users],
  })
  return new Map(rows.map((row) => [row.id, row.last_seen_at]))
}

/**
 * Writes the last-seen times. Keeps the later of the stored and the new time, because several
 * servers may report the same user.
 */
async function saveLastSeen(database: Database, seen: readonly LastSeen[]): Promise<void> {
  await database.query({
    name: 'save_last_seen',
    text: `update users u set last_seen_at = greatest(u.last_seen_at, s.at)
             from unnest($1::uuid[], $2::timestamptz[]) s(id, at)
            where u.id = s.id and u.erasing_since is null and u.erased_at is null`,
    values: [seen.map(({ user }) => user), seen.map(({ at }) => at)],
  })
}
