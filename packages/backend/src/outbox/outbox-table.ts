/**
 * The tables of the outbox in the integrator's own database, and what an operator does with them.
 *
 * `chorus_outbox` has the rows that wait. `number` is their order: a transaction that begins after
 * another one has committed gets higher numbers, whatever the clocks say. `lane` is the queue of a
 * row: its conversation, or its subject until the relay knows the conversation.
 * `chorus_outbox_lane` has the lanes that a relay holds, or that wait after a failure.
 * `chorus_outbox_dead` has the rows that cannot be posted, each with the reason.
 */
import { type QueryClient, readRows, type StatementClient } from './database.ts'

/**
 * Statement that creates the tables, for migration tools. It changes nothing if they exist, and may
 * run in several processes at once. Needs Postgres 15 or later, or PGlite.
 */
export const outboxTableSql = `do $$
begin
  perform pg_advisory_xact_lock(hashtext('chorus_outbox'));
  if to_regclass('chorus_outbox') is not null and to_regclass('chorus_outbox_lane') is not null
     and to_regclass('chorus_outbox_dead') is not null then
    return;
  end if;
  create table if not exists chorus_outbox (
    id uuid primary key,
    number bigint not null generated always as identity,
    conversation uuid,
    subject_type text,
    subject_id text,
    sender text,
    text text,
    card json,
    created_at timestamptz not null default now(),
    attempts int not null default 0,
    last_error text,
    lane text collate "C" not null
      generated always as (coalesce(conversation::text, subject_type || '/' || subject_id)) stored,
    constraint chorus_outbox_target
      check (conversation is not null or (subject_type is not null and subject_id is not null)),
    constraint chorus_outbox_content check (text is not null or card is not null)
  ) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
  create index if not exists chorus_outbox_lanes on chorus_outbox (lane, number);
  create index if not exists chorus_outbox_unresolved on chorus_outbox (number) where conversation is null;
  create table if not exists chorus_outbox_lane (
    lane text collate "C" primary key,
    held_by uuid,
    held_until timestamptz not null
  ) with (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);
  create table if not exists chorus_outbox_dead (
    id uuid primary key,
    conversation uuid,
    subject_type text,
    subject_id text,
    sender text,
    text text,
    card json,
    created_at timestamptz not null,
    attempts int not null,
    reason text not null,
    died_at timestamptz not null default now()
  );
end
$$`

/** Creates the tables of the outbox in the first schema of the client's search path. */
export async function createOutboxTable(client: StatementClient): Promise<void> {
  await client.query(outboxTableSql)
}

/** Numbers for a dashboard or an alert. */
export interface OutboxState {
  /** Number of waiting rows; stops at 100 000. */
  readonly waiting: number
  /** Age of the oldest waiting row, in seconds; 0 if none waits. */
  readonly oldestS: number
  /** Number of dead rows; stops at 100 000. */
  readonly dead: number
}

/** Returns how much waits, how long, and how many rows are dead. */
export async function readOutboxState(client: QueryClient): Promise<OutboxState> {
  const [state] = await readRows<OutboxState>(
    client,
    `select
       (select count(*)::int from (select from chorus_outbox limit 100000) waiting) as waiting,
       coalesce((select greatest(extract(epoch from now() - min(created_at)), 0)::float8
                 from (select created_at from chorus_outbox order by number limit 1000) first), 0) as "oldestS",
       (select count(*)::int from (select from chorus_outbox_dead limit 100000) dead) as dead`,
  )
  return state ?? { waiting: 0, oldestS: 0, dead: 0 }
}

/** Maximum number of rows that one call of {@link retryDeadLetters} moves. */
const retryMaxRows = 1_000

/**
 * Puts dead rows back into the outbox, oldest first, after their reason was repaired. They keep
 * their ids, so a row that was posted after all is not posted twice. Returns the number of rows: at
 * most 1 000; call it again until it returns 0.
 */
export async function retryDeadLetters(client: QueryClient, ids?: readonly string[]): Promise<number> {
  const moved = await readRows(
    client,
    `with chosen as (
       select id from chorus_outbox_dead
       where $1::text is null or id = any($1::text::uuid[])
       order by died_at, id limit ${retryMaxRows}
     ),
     gone as (
       delete from chorus_outbox_dead where id in (select id from chosen)
       returning id, conversation, subject_type, subject_id, sender, text, card, created_at, died_at
     )
     insert into chorus_outbox (id, conversation, subject_type, subject_id, sender, text, card, created_at)
     select id, conversation, subject_type, subject_id, sender, text, card, created_at from gone order by died_at, id
     on conflict (id) do nothing
     returning 1`,
    [ids === undefined ? null : `{${ids.join(',')}}`],
  )
  return moved.length
}
