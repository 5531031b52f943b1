/**
 * Reads the log for its two consumers, mail and webhooks (rule OFF1). Each consumer has its own
 * position (a transaction id), and one server at a time runs it.
 *
 * Within a conversation, a higher seq can have a lower transaction id, so cutting a page by
 * transaction id could skip seqs. A page takes the unhandled rows with `xid >= position`, from as
 * many transactions as fit, ordered by (conversation, seq). If a page contains a seq, it also
 * contains every lower unhandled seq of that conversation, whatever its transaction id. The
 * position moves only past transactions that are visible or aborted (position.ts). Seqs handled
 * above the position are stored in `consumer_progress`.
 */
import { randomUUID } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { positionSql, xidParameter } from './position.ts'
import { readPosition } from './sweep-changes.ts'

/** The consumers of the log. The erasure of users reads no pages and only takes its lease. */
export type ConsumerName = 'webhooks' | 'mail' | 'erasure'

export interface ConsumerLease {
  readonly name: ConsumerName
  /**
   * Number that grows each time a server takes the lease. Writes with an older token are refused.
   */
  readonly token: number
  readonly position: number
  /** Database history that the position belongs to. Null: the consumer has never started. */
  readonly history: string | null
}

export interface ConsumedRow {
  readonly conversation: Id
  readonly seq: number
  readonly xid: number
}

export interface ConsumerPage {
  /** Rows ordered by (conversation, seq). */
  readonly rows: readonly ConsumedRow[]
  /** Position to store once these rows are handled. The next page starts there. */
  readonly position: number
  /** True when the next page may already have rows. */
  readonly more: boolean
}

/**
 * Returns the database history of an epoch: the epoch without its timeline, because a promoted
 * replica has the same positions and rows.
 */
export function historyOf(epoch: string): string {
  return epoch.split('.').slice(0, 2).join('.')
}

/** Access of one server to the lease of a consumer and to its pages of the log. */
export interface ConsumerLog {
  readonly name: ConsumerName
  /** Takes the lease if it is free, expired or already held by this server. */
  takeLease(ttlMs: number): Promise<ConsumerLease | undefined>
  /** Extends the lease. Returns false if another server has taken it. */
  renewLease(lease: ConsumerLease, ttlMs: number): Promise<boolean>
  releaseLease(lease: ConsumerLease): Promise<void>
  /** Returns the current position of the log. */
  readPosition(): Promise<number>
  /**
   * Starts at a position, or at the stored position if `position` is undefined. Returns false if
   * another server has taken the lease.
   */
  begin(lease: ConsumerLease, history: string, position: number | undefined): Promise<boolean>
  readPage(lease: ConsumerLease, rowsMax: number): Promise<ConsumerPage>
  /**
   * Returns the number of changes that wait for this consumer, up to a thousand, and the age of the
   * oldest one.
   */
  readLag(lease: ConsumerLease): Promise<{ readonly rows: number; readonly ageMs: number }>
}

export function openConsumerLog(database: Database, name: ConsumerName): ConsumerLog {
  const holder = randomUUID()
  return {
    name,
    takeLease: async (ttlMs) => {
      const rows = await database.query<{ token: number; position: number; history: string | null }>({
        name: 'take_consumer_lease',
        text: `update consumers set holder = $2, lease_until = clock_timestamp() + $3 * interval '1 millisecond',
                      token = greatest(token + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint)
                where name = $1 and (holder is null or holder = $2 or lease_until is null or lease_until < clock_timestamp())
               returning token, position, history`,
        values: [name, holder, ttlMs],
      })
      const [row] = rows
      return row === undefined ? undefined : { name, ...row }
    },
    renewLease: async ({ token }, ttlMs) => {
      const rows = await database.query({
        name: 'renew_consumer_lease',
        text: `update consumers set lease_until = clock_timestamp() + $3 * interval '1 millisecond'
                where name = $1 and token = $2 returning 1`,
        values: [name, token, ttlMs],
      })
      return rows.length > 0
    },
    releaseLease: async ({ token }) => {
      await database.query({
        name: 'release_consumer_lease',
        text: 'update consumers set holder = null, lease_until = null where name = $1 and token = $2',
        values: [name, token],
      })
    },
    readPosition: () => readPosition(database),
    begin: async ({ token }, history, position) => {
      const rows = await database.query<{ held: boolean }>({
        name: 'begin_consumer',
        text: 'select begin_consumer($1, $2, $3, $4) as held',
        values: [name, token, history, position ?? null],
      })
      return rows[0]?.held === true
    },
    readPage: async (_lease, rowsMax) => readPage(database, name, rowsMax),
    readLag: async () => {
      const rows = await database.query<{ rows: number; age_ms: number | null }>({
        name: 'read_consumer_lag',
        text: `select count(*)::int as rows, extract(epoch from clock_timestamp() - min(waiting.at))::float8 * 1000 as age_ms from (
                 select c.at from changes c where c.xid >= (select position::text::xid8 from consumers where name = $1)
                   and ${unhandledSql} order by c.xid limit 1000) waiting`,
        values: [name],
      })
      return { rows: rows[0]?.rows ?? 0, ageMs: Math.max(0, rows[0]?.age_ms ?? 0) }
    },
  }
}

/**
 * SQL condition for changes that the consumer has not handled. It is a subquery per row, which
 * forces a look-up by key. A join was slow: a plan made before any row was handled compared all
 * rows with all rows.
 */
const unhandledSql = `c.seq > coalesce(
  (select p.seq from consumer_progress p where p.consumer = $1 and p.conversation = c.conversation), 0)`

interface PageRow {
  readonly position: number
  readonly from_position: number
  readonly window_rows: number
  readonly window_xid: number | null
  readonly conversation: Id | null
  readonly seq: number
  readonly xid: number
}

async function readPage(database: Database, name: ConsumerName, rowsMax: number): Promise<ConsumerPage> {
  const [consumer] = await database.query<{ position: number }>({
    name: 'read_consumer_position',
    text: 'select position from consumers where name = $1',
    values: [name],
  })
  if (consumer === undefined) throw new Error(`there is no consumer ${name}`)
  const from = consumer.position
  const found = await database.query<PageRow>({
    name: 'read_consumer_page',
    // `with ties` keeps all rows of a transaction together, so that the position can move past it.
    text: `with due as materialized (
             select c.conversation, c.seq, c.xid from changes c
              where c.xid >= ${xidParameter(2)} and ${unhandledSql}
              order by c.xid fetch first ${rowsMax} rows with ties
           ), tops as (
             select d.conversation, max(d.seq) as top from due d group by d.conversation
           ), ranges as (
             -- Start after the last handled change; without progress, after the newest change below the position.
             select t.conversation, t.top, coalesce(
               (select p.seq from consumer_progress p where p.consumer = $1 and p.conversation = t.conversation),
               (select b.seq from changes b where b.conversation = t.conversation and b.seq <= t.top and b.xid < ${xidParameter(2)}
                 order by b.seq desc limit 1), 0) as handled
               from tops t
           )
           select ${positionSql} as position, w.window_rows, w.window_xid, page.*
             from (select count(*)::int as window_rows, max(xid::text::bigint) as window_xid from due) w
             left join lateral (
               select r.conversation, c.seq, c.xid::text::bigint as xid
                 from ranges r cross join lateral (
                   select x.seq, x.xid from changes x where x.conversation = r.conversation and x.seq > r.handled and x.seq <= r.top
                    order by x.seq limit ${2 * rowsMax}) c
                order by r.conversation, c.seq limit ${2 * rowsMax}) page on true`,
    values: [name, String(from)],
  })
  const [first] = found
  if (first === undefined) return { rows: [], position: from, more: false }
  const rows = found.flatMap(({ conversation, seq, xid }) =>
    conversation === null ? [] : [{ conversation, seq, xid }],
  )
  // The row limit cut the page, so the position stays. `consumer_progress` records the last handled
  // seq of each conversation.
  if (rows.length >= 2 * rowsMax) return { rows, position: from, more: true }
  const isCut = first.window_rows >= rowsMax && first.window_xid !== null
  const next = isCut ? Math.min(first.position, first.window_xid + 1) : first.position
  return { rows, position: Math.max(from, next), more: isCut }
}

/** Returns the parameters $1 to $5 of the SQL functions that store the results of a page. */
export function pageArguments({ token }: ConsumerLease, { position, rows }: ConsumerPage): readonly unknown[] {
  return [
    token,
    position,
    rows.map(({ conversation }) => conversation),
    rows.map(({ seq }) => seq),
    rows.map(({ xid }) => xid),
  ]
}
