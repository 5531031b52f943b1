/**
 * SQL of the relay: claims lanes, reads their rows, and records what happened to each.
 *
 * Guarantee: at any time at most one relay holds a lane, for as long as its lease lasts. A claim is
 * one upsert into `chorus_outbox_lane`, whose condition Postgres evaluates on the newest version of
 * the row; the rows are read by a later statement, which sees everything that was committed before
 * the claim. Each step is one statement, so any pool works, no transaction stays open while a
 * message is posted, and a killed relay leaves nothing but a lease that ends.
 */
import { randomUUID } from 'node:crypto'
import { type QueryClient, readRows } from './database.ts'

export const rowBounds = {
  /** Lanes that one claim looks at. */
  lanesScanned: 128,
  /** Rows of a lane that are read at once. */
  batchRows: 32,
  /** Maximum size of text and card of a row. The server refuses far smaller messages. */
  rowMaxBytes: 1_048_576,
  /** Maximum length of a stored reason. */
  reasonMaxChars: 1_000,
} as const

/** A lane that this relay holds. */
export interface Hold {
  readonly lane: string
  /** Id of the claim. A late statement of an earlier claim must not touch this one. */
  readonly claim: string
  /** End of the lease by this process's monotonic clock, never later than in the database. */
  untilMs: number
}

export interface WaitingRow {
  readonly id: string
  readonly conversation: string | null
  readonly subject_type: string | null
  readonly subject_id: string | null
  readonly sender: string | null
  /** Null also if the row is larger than `rowMaxBytes`. */
  readonly text: string | null
  /** JSON. Null also if the row is larger than `rowMaxBytes`. */
  readonly card: string | null
  readonly bytes: number
  readonly attempts: number
  readonly age_ms: number
}

export interface Claim {
  readonly holds: readonly Hold[]
  /** Where the next claim begins: after this lane. Empty: at the first lane. */
  readonly nextAfter: string
}

/** Text of an array parameter. Every driver passes text, and the planner sees its length. */
const toArray = (ids: readonly string[]): string => `{${ids.join(',')}}`

/**
 * Number of the first row whose subject was not looked up yet: later rows may belong to the same
 * conversation, so they wait. A subject whose look-up failed holds back its own rows only.
 */
const firstUnknown = `coalesce((
  select other.number from chorus_outbox other
  where other.conversation is null and other.attempts = 0 and not exists (
    select from chorus_outbox_lane failed
    where failed.lane = other.lane and failed.held_by is null and failed.held_until > now()
  )
  order by other.number limit 1
), 9223372036854775807)`

/** True also after the end of the lease, until a later claim takes the lane. */
const holdsLane = 'lane = $1::text and held_by = $2::text::uuid'

export class OutboxRows {
  readonly #client: QueryClient
  readonly #leaseMs: number

  constructor(client: QueryClient, leaseMs: number) {
    this.#client = client
    this.#leaseMs = leaseMs
  }

  /**
   * Claims at most `count` lanes that are free: not held, not waiting after a failure or for a
   * subject. Begins after the name `after`, in the order of names, so that no lane waits for ever.
   *
   * The locks on the first rows are held for this statement only. They let two relays that claim at
   * once skip each other's lanes instead of waiting for each other.
   */
  async claim(after: string, count: number): Promise<Claim> {
    const startedMs = performance.now()
    const claim = randomUUID()
    const isFree = `((o.conversation is null or o.number < (select number from first_unknown)) and not exists (
      select from chorus_outbox_lane held where held.lane = o.lane and held.held_until > now()
    ))`
    // The scan jumps from lane to lane in the index. It stops at the last lane that it needs.
    const [answer] = await readRows<{ has_more: boolean; reached: string | null; taken: string | null }>(
      this.#client,
      `with recursive first_unknown as materialized (select ${firstUnknown} as number),
       scan(lane, id, is_free, free, steps) as (
         (select o.lane, o.id, ${isFree}, (${isFree})::int, 1
          from chorus_outbox o where o.lane > $1::text order by o.lane, o.number limit 1)
         union all
         select next.lane, next.id, next.is_free, scan.free + next.is_free::int, scan.steps + 1
         from scan cross join lateral (
           select o.lane, o.id, ${isFree} as is_free
           from chorus_outbox o where o.lane > scan.lane order by o.lane, o.number limit 1
         ) next
         where scan.steps < ${rowBounds.lanesScanned} and scan.free < $2::int
       ),
       locked as (
         select head.lane from scan cross join lateral (
           select o.lane from chorus_outbox o where o.id = scan.id for update skip locked
         ) head
         where scan.is_free
       ),
       taken as (
         insert into chorus_outbox_lane as held (lane, held_by, held_until)
         select lane, $3::text::uuid, now() + $4::int * interval '1 millisecond' from locked order by lane
         on conflict (lane) do update set held_by = excluded.held_by, held_until = excluded.held_until
         where held.held_until <= now()
         returning lane
       )
       select coalesce(max(steps) = ${rowBounds.lanesScanned} or max(free) = $2::int, false) as has_more,
              max(lane) as reached, (select json_agg(lane order by lane)::text from taken) as taken
       from scan`,
      [after, count, claim, this.#leaseMs],
    )
    const lanes = JSON.parse(answer?.taken ?? '[]') as string[]
    return {
      holds: lanes.map((lane) => ({ lane, claim, untilMs: startedMs + this.#leaseMs })),
      nextAfter: (answer?.has_more === true ? answer.reached : null) ?? '',
    }
  }

  /** Extends the lease. Returns false if another relay has taken the lane. */
  async renew(hold: Hold): Promise<boolean> {
    const startedMs = performance.now()
    const rows = await readRows(
      this.#client,
      `update chorus_outbox_lane set held_until = now() + $3::int * interval '1 millisecond'
       where ${holdsLane} returning 1`,
      [hold.lane, hold.claim, this.#leaseMs],
    )
    if (rows.length === 0) return false
    hold.untilMs = startedMs + this.#leaseMs
    return true
  }

  /**
   * Extends the leases of several lanes at once. Skips a lane that another statement locks right
   * now: two statements that wait for each other's lanes would end in a deadlock.
   */
  async renewAll(holds: readonly Hold[]): Promise<void> {
    const startedMs = performance.now()
    const rows = await readRows<{ lane: string }>(
      this.#client,
      `with mine as (
         select lane from chorus_outbox_lane
         where (lane, held_by) in (
           select held.lane, held.claim from json_to_recordset($1::text::json) as held(lane text, claim uuid)
         )
         for update skip locked
       )
       update chorus_outbox_lane set held_until = now() + $2::int * interval '1 millisecond'
       where lane in (select lane from mine) returning lane`,
      [JSON.stringify(holds.map(({ lane, claim }) => ({ lane, claim }))), this.#leaseMs],
    )
    const renewed = new Set(rows.map(({ lane }) => lane))
    for (const hold of holds) if (renewed.has(hold.lane)) hold.untilMs = startedMs + this.#leaseMs
  }

  /** Returns the next rows of a held lane, in order, without rows that wait for a subject. */
  read({ lane }: Hold): Promise<WaitingRow[]> {
    return readRows(
      this.#client,
      `select id::text as id, conversation::text as conversation, subject_type, subject_id, sender,
         case when bytes <= ${rowBounds.rowMaxBytes} then text end as text,
         case when bytes <= ${rowBounds.rowMaxBytes} then card::text end as card,
         bytes, attempts, extract(epoch from now() - created_at)::float8 * 1000 as age_ms
       from chorus_outbox cross join lateral (
         select coalesce(octet_length(text), 0) + coalesce(octet_length(card::text), 0) as bytes
       ) size
       where lane = $1::text and (conversation is null or number < ${firstUnknown})
       order by number limit ${rowBounds.batchRows}`,
      [lane],
    )
  }

  /** Removes posted rows. Needs no lease: a posted row is done, whichever relay posted it. */
  async remove(posted: readonly string[]): Promise<void> {
    if (posted.length === 0) return
    await readRows(this.#client, `delete from chorus_outbox where id = any($1::text::uuid[])`, [toArray(posted)])
  }

  /** Removes posted rows and gives the lane back. */
  async release({ lane, claim }: Hold, posted: readonly string[]): Promise<void> {
    await readRows(
      this.#client,
      `with done as (delete from chorus_outbox where id = any($3::text::uuid[]))
       delete from chorus_outbox_lane where ${holdsLane}`,
      [lane, claim, toArray(posted)],
    )
  }

  /**
   * Gives the lane back for later: it stays closed for `delayMs`, for every relay. Records the
   * error at the rows that failed, and one attempt more if it counts.
   */
  async postpone(
    { lane, claim }: Hold,
    posted: readonly string[],
    failed: { readonly ids: readonly string[]; readonly error: string; readonly counts: boolean },
    delayMs: number,
  ): Promise<void> {
    await readRows(
      this.#client,
      `with done as (delete from chorus_outbox where id = any($3::text::uuid[])),
       mine as (
         update chorus_outbox_lane set held_by = null, held_until = now() + $4::int * interval '1 millisecond'
         where ${holdsLane} returning lane
       )
       update chorus_outbox set attempts = attempts + $6::int, last_error = $7::text
       where id = any($5::text::uuid[]) and exists (select from mine)`,
      [
        lane,
        claim,
        toArray(posted),
        Math.ceil(delayMs),
        toArray(failed.ids),
        failed.counts ? 1 : 0,
        toReason(failed.error),
      ],
    )
  }

  /** Moves rows of a held lane to the dead letters. Moves nothing if the lane was lost. */
  async bury({ lane, claim }: Hold, ids: readonly string[], reason: string): Promise<void> {
    await readRows(
      this.#client,
      `with gone as (
         delete from chorus_outbox
         where id = any($3::text::uuid[]) and exists (select from chorus_outbox_lane where ${holdsLane})
         returning id, conversation, subject_type, subject_id, sender, text, card, created_at, attempts
       )
       insert into chorus_outbox_dead
         (id, conversation, subject_type, subject_id, sender, text, card, created_at, attempts, reason)
       select id, conversation, subject_type, subject_id, sender, text, card, created_at, attempts + 1, $4::text
       from gone
       on conflict (id) do update set reason = excluded.reason, attempts = excluded.attempts, died_at = now()`,
      [lane, claim, toArray(ids), toReason(reason)],
    )
  }

  /**
   * Gives all rows of a held subject their conversation. They keep their numbers, so they have
   * their place among the rows that name the conversation itself.
   */
  async resolve({ lane, claim }: Hold, conversation: string): Promise<void> {
    await readRows(
      this.#client,
      `with mine as (delete from chorus_outbox_lane where ${holdsLane} returning lane)
       update chorus_outbox set conversation = $3::text::uuid
       where lane = $1::text and conversation is null and exists (select from mine)`,
      [lane, claim, conversation],
    )
  }

  /** Removes holds that ended long ago: of killed relays, and of lanes that are empty by now. */
  async prune(): Promise<void> {
    await readRows(
      this.#client,
      `delete from chorus_outbox_lane where lane in (
         select lane from chorus_outbox_lane where held_until < now() - interval '1 minute' limit 1000
         for update skip locked
       )`,
    )
  }
}

/** Postgres cannot store NUL, and an error may quote a whole response. */
function toReason(text: string): string {
  return text.replaceAll('\u0000', '').toWellFormed().slice(0, rowBounds.reasonMaxChars)
}
