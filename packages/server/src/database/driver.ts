/**
 * Configures the Postgres driver the same way for both engines: how values are parsed, how
 * statements are prepared, how reads are retried, and how the database epoch is read.
 */
import pg from 'pg'
import { classifyDatabaseError, type DatabaseError, isReadWorthRetrying, readRetry } from './database-errors.ts'
import type { Statement } from './database.ts'

const oid = { int8: 20, timestamptz: 1184 } as const

/**
 * Parses bigint as number (every seq is below 2^53) and timestamptz as ISO 8601 UTC. Other types
 * keep the driver's parsers.
 */
export const typeParsers: pg.CustomTypesConfig = {
  getTypeParser: ((id: number, format?: 'text' | 'binary') => {
    if (id === oid.int8) return Number
    if (id === oid.timestamptz) return toIso
    return pg.types.getTypeParser(id, format) as (text: string) => unknown
  }) as typeof pg.types.getTypeParser,
}

/** Cache of the last parsed time: rows that were written together mostly have the same time. */
let lastTime = { text: '', iso: '' }

function toIso(text: string): string {
  if (text !== lastTime.text) lastTime = { text, iso: new Date(text).toISOString() }
  return lastTime.iso
}

const epochTimeoutMs = 1_500

export interface Runner {
  query(config: pg.QueryConfig & { query_timeout?: number }): Promise<{ rows: unknown[] }>
}

export function toQueryConfig({ name, text, values }: Statement): pg.QueryConfig {
  return { text, values: values === undefined ? [] : [...values], ...(name !== undefined && { name }) }
}

/**
 * Runs a read and retries it after temporary faults while there is time. Small writes that may be
 * repeated use this function, too.
 *
 * The function `run` makes one attempt. It must end within the time that it is given, and when it
 * rejects, the attempt must be over. `runRead` rejects with a `DatabaseError` within `totalMs`. If
 * one attempt lost its connection and a later one is refused, the error is `lost`: the write may
 * have been executed (rule ACK2).
 */
export async function runRead<Row>(
  run: (timeoutMs: number) => Promise<Row[]>,
  pause: (ms: number) => Promise<void>,
  totalMs: number,
): Promise<Row[]> {
  const endsAtMs = performance.now() + totalMs
  let lost: DatabaseError | undefined
  for (let attempt = 1; ; attempt++) {
    const timeoutMs = Math.max(1, endsAtMs - performance.now())
    try {
      return await run(timeoutMs)
    } catch (error) {
      const classified = classifyDatabaseError(error, true)
      const pauseMs = readRetry.pauseMs * attempt
      const isOver = attempt >= readRetry.attemptsMax || performance.now() + pauseMs >= endsAtMs
      // An error that the database itself reports is final, even after an attempt that lost its
      // connection: that attempt would have had the same error.
      if (!isReadWorthRetrying(classified)) throw classified
      if (classified.kind === 'lost') lost = classified
      if (isOver) throw lost ?? classified
      await pause(pauseMs)
    }
  }
}

/**
 * Rejects when the promise takes longer than `timeoutMs`. The work behind the promise continues.
 */
export async function within<T>(promise: Promise<T>, timeoutMs: number, what = 'no connection'): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${Math.round(timeoutMs)} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export function isConnectionFault(error: DatabaseError): boolean {
  return error.kind === 'lost' || error.kind === 'refused'
}

/**
 * Reads the database epoch: the identity of the database history that a connection sees.
 *
 * A restored backup has another stored id, another cluster another system identifier, a promoted
 * replica another timeline. The timeline is taken from the WAL position: the control file still had
 * the old timeline ten seconds after a promotion.
 */
export async function readEpoch(runner: Runner): Promise<string> {
  const { rows } = await runner.query({
    query_timeout: epochTimeoutMs,
    text: `select (select value from settings where key = 'epoch') as id,
                  (select system_identifier::text from pg_control_system()) as system,
                  substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) as timeline`,
  })
  const row = rows[0] as { id: string | null; system: string; timeline: string }
  return `${row.id ?? 'none'}.${row.system}.${row.timeline}`
}
