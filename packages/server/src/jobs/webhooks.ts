/**
 * Stores webhook endpoints, their due deliveries, and the lanes of these deliveries.
 *
 * A lane is the unit that a worker claims: the due deliveries of one conversation to one endpoint,
 * sent one after another (rule OFF1). A claim expires by itself, so a lane that a dead worker had
 * claimed is soon free again. Deliveries that the dead worker sent without recording them are sent
 * again under the same id.
 */
import { createHash } from 'node:crypto'
import type { ChangeType, Id } from '@chorus/protocol'
import { type ConsumerLease, type ConsumerPage, pageArguments } from '../log/consumer-log.ts'
import type { Database } from '../database/database.ts'

/**
 * Maximum number of webhook endpoints. Each change is sent to every endpoint that wants its type.
 */
export const endpointsMax = 100

/** Maximum webhook deliveries that one statement of a replay makes due. */
export const replayPageMax = 5_000

export interface WebhookLane {
  readonly endpoint: Id
  readonly conversation: Id
}

export interface ClaimedDelivery extends WebhookLane {
  readonly url: string
  readonly secrets: readonly string[]
  readonly seq: number
  readonly eventId: string
  readonly attempts: number
  /** Time since the first attempt to send this delivery. 0 before the first attempt. */
  readonly triedForMs: number
  /** Time since the endpoint last accepted a delivery. 0 while the endpoint accepts deliveries. */
  readonly failingForMs: number
}

export type SettledLane = 'more' | 'wait' | 'idle' | 'lost'

export interface Settlement {
  readonly outcome: 'delivered' | 'retry' | 'dead'
  readonly status: number | null
  readonly error: string | null
  readonly delayMs: number
}

/**
 * Returns a short tag of the epoch, which is part of event ids. After a failover that lost changes,
 * a seq is reused for another change, and its event needs another id.
 */
export function historyTagOf(epoch: string): string {
  return createHash('sha256').update(epoch).digest('hex').slice(0, 12)
}

/**
 * Makes the changes of a page due for every endpoint that wants them. Returns undefined if another
 * server has taken the consumer's lease; then nothing was stored.
 */
export async function storeWebhookPage(
  database: Database,
  lease: ConsumerLease,
  page: ConsumerPage,
  epoch: string,
): Promise<readonly WebhookLane[] | undefined> {
  const rows = await database.query<{ endpoint: Id | null; conversation: Id | null }>({
    name: 'advance_webhooks',
    text: `select * from advance_webhooks($1, $2, $3::uuid[], $4::bigint[], $5::bigint[], $6)`,
    values: [...pageArguments(lease, page), historyTagOf(epoch)],
  })
  if (rows.length === 1 && rows[0]?.endpoint === null) return undefined
  return rows.flatMap(({ endpoint, conversation }) =>
    endpoint === null || conversation === null ? [] : [{ endpoint, conversation }],
  )
}

export async function hasEndpoints(database: Database): Promise<boolean> {
  const rows = await database.query({
    name: 'has_webhook_endpoints',
    text: 'select from webhook_endpoints where enabled limit 1',
  })
  return rows.length > 0
}

/**
 * Returns webhook lanes (deliveries of one conversation to one endpoint) that became due more than
 * `graceMs` ago and that no worker has claimed, except lanes that were queued less than `againMs`
 * ago.
 */
export async function takeDueLanes(
  database: Database,
  { graceMs, againMs, max }: { graceMs: number; againMs: number; max: number },
): Promise<readonly WebhookLane[]> {
  return database.query<WebhookLane>({
    name: 'take_due_lanes',
    // Selects by row address, so that the planner cannot join over all lanes, even with wrong table
    // statistics.
    text: `update webhook_lanes l set queued_at = clock_timestamp()
            where l.ctid = any (array(
                    select x.ctid from webhook_lanes x
                      join webhook_endpoints e on e.id = x.endpoint and e.enabled
                     where x.due_at <= statement_timestamp() - $1 * interval '1 millisecond'
                       and (x.claimed_until is null or x.claimed_until < statement_timestamp())
                       and (x.queued_at is null or x.queued_at < statement_timestamp() - $2 * interval '1 millisecond')
                     order by x.due_at limit $3 for update of x skip locked))
           returning l.endpoint, l.conversation`,
    values: [graceMs, againMs, max],
  })
}

/**
 * Claims a webhook lane for one worker and returns its next delivery. Returns undefined if no
 * delivery is due or another worker has claimed the lane.
 */
export async function claimLane(
  database: Database,
  { endpoint, conversation }: WebhookLane,
  claim: Id,
  leaseMs: number,
): Promise<ClaimedDelivery | undefined> {
  const rows = await database.query<Omit<ClaimedDelivery, 'endpoint' | 'conversation'>>({
    name: 'claim_lane',
    text: `with claimed as (
             update webhook_lanes l set claim = $3, claimed_until = clock_timestamp() + $4 * interval '1 millisecond'
               from webhook_endpoints e
              where l.endpoint = $1 and l.conversation = $2 and e.id = l.endpoint and e.enabled
                and l.due_at <= clock_timestamp()
                and (l.claim = $3 or l.claimed_until is null or l.claimed_until < clock_timestamp())
             returning e.url, e.secrets,
                       coalesce(extract(epoch from clock_timestamp() - e.failing_since)::float8 * 1000, 0) as "failingForMs")
           select c.*, d.seq, d.event_id as "eventId", d.attempts,
                  coalesce(extract(epoch from clock_timestamp() - d.first_attempt_at)::float8 * 1000, 0) as "triedForMs"
             from claimed c cross join lateral (
               select * from webhook_deliveries x
                where x.endpoint = $1 and x.conversation = $2 and x.dead_at is null order by x.seq limit 1) d`,
    values: [endpoint, conversation, claim, leaseMs],
  })
  const [row] = rows
  return row === undefined ? undefined : { endpoint, conversation, ...row }
}

export async function settleDelivery(
  database: Database,
  { endpoint, conversation }: WebhookLane,
  claim: Id,
  seq: number,
  { outcome, status, error, delayMs }: Settlement,
  leaseMs: number,
): Promise<SettledLane> {
  const rows = await database.query<{ outcome: SettledLane }>({
    name: 'settle_delivery',
    text: 'select settle_delivery($1, $2, $3, $4, $5, $6, $7, $8, $9) as outcome',
    values: [endpoint, conversation, claim, seq, outcome, status, error, delayMs, leaseMs],
  })
  return rows[0]?.outcome ?? 'lost'
}

/** Releases the claim on a webhook lane, so that another worker can take it. */
export async function releaseLane(
  database: Database,
  { endpoint, conversation }: WebhookLane,
  claim: Id,
): Promise<void> {
  await database.query({
    name: 'release_lane',
    text: `update webhook_lanes set claim = null, claimed_until = null, queued_at = null
            where endpoint = $1 and conversation = $2 and claim = $3`,
    values: [endpoint, conversation, claim],
  })
}

export async function disableEndpoint(database: Database, endpoint: Id, reason: string): Promise<boolean> {
  const rows = await database.query({
    name: 'disable_endpoint',
    text: `update webhook_endpoints set enabled = false, disabled_reason = $2 where id = $1 and enabled returning 1`,
    values: [endpoint, reason],
  })
  return rows.length > 0
}

export interface DeliveryCounts {
  readonly due: number
  readonly oldestMs: number
  readonly dead: number
}

/** Returns the number of due deliveries and of dead letters, each up to 10 000. */
export async function countDeliveries(database: Database): Promise<DeliveryCounts> {
  const rows = await database.query<DeliveryCounts>({
    name: 'count_deliveries',
    // Counts due deliveries per endpoint: there are few endpoints, and each count reads a limited
    // part of an index.
    text: `select coalesce(sum(found.due), 0)::int as due,
                  coalesce(greatest(0, extract(epoch from clock_timestamp() - min(found.oldest))::float8 * 1000), 0) as "oldestMs",
                  (select count(*)::int from (select from webhook_deliveries where dead_at is not null limit 10000) x) as dead
             from webhook_endpoints e
             cross join lateral (
               select (select count(*) from (select from webhook_deliveries d
                         where d.endpoint = e.id and d.dead_at is null limit 10000) x) as due,
                      (select l.due_at from webhook_lanes l where l.endpoint = e.id order by l.due_at limit 1) as oldest) found
            where e.enabled`,
  })
  return rows[0] ?? { due: 0, oldestMs: 0, dead: 0 }
}

/** Deletes dead letters (webhook deliveries that were given up) older than 30 days. */
export async function tidyDeliveries(database: Database): Promise<void> {
  await database.query({
    name: 'tidy_deliveries',
    text: `delete from webhook_deliveries where (endpoint, conversation, seq) in (
             select endpoint, conversation, seq from webhook_deliveries
              where dead_at < statement_timestamp() - interval '30 days' limit 10000)`,
  })
}

// SQL statements of the operator's commands (operator-commands/webhooks.ts).

export interface WebhookEndpoint {
  readonly id: Id
  readonly url: string
  readonly types: readonly ChangeType[] | null
  readonly enabled: boolean
  readonly disabledReason: string | null
  readonly createdAt: string
  readonly failingSince: string | null
  readonly deliveredAt: string | null
  readonly due: number
  readonly dead: number
}

/** Adds a webhook endpoint. Returns false if there are already too many. */
export async function addEndpoint(
  database: Database,
  { id, url, types, secret }: { id: Id; url: string; types: readonly ChangeType[] | null; secret: string },
): Promise<boolean> {
  const rows = await database.query({
    text: `insert into webhook_endpoints (id, url, types, secrets)
           select $1, $2, $3, array[$4::text] where (select count(*) from webhook_endpoints) < $5
           on conflict (id) do update set url = excluded.url returning 1`,
    values: [id, url, types, secret, endpointsMax],
  })
  return rows.length > 0
}

export async function listEndpoints(database: Database): Promise<WebhookEndpoint[]> {
  return database.query<WebhookEndpoint>({
    text: `select e.id, e.url, e.types, e.enabled, e.disabled_reason as "disabledReason", e.created_at as "createdAt",
                  e.failing_since as "failingSince", e.delivered_at as "deliveredAt",
                  (select count(*)::int from webhook_deliveries d where d.endpoint = e.id and d.dead_at is null) as due,
                  (select count(*)::int from webhook_deliveries d where d.endpoint = e.id and d.dead_at is not null) as dead
             from webhook_endpoints e order by e.created_at limit 1000`,
  })
}

/** Removes a webhook endpoint. Returns false if it does not exist. */
export async function removeEndpoint(database: Database, id: Id): Promise<boolean> {
  const rows = await database.query({
    text: 'delete from webhook_endpoints where id = $1 returning 1',
    values: [id],
  })
  return rows.length > 0
}

/**
 * Enables or disables a webhook endpoint. When enabled, all waiting deliveries become due at once.
 */
export async function setEndpointEnabled(database: Database, id: Id, enabled: boolean): Promise<boolean> {
  const rows = await database.query({
    text: `with changed as (
             update webhook_endpoints set enabled = $2, failing_since = null,
                    disabled_reason = case when $2 then null else 'disabled by an operator' end
              where id = $1 returning id),
           woken as (update webhook_lanes set due_at = clock_timestamp(), queued_at = null
                      where $2 and endpoint in (select id from changed))
           select from changed`,
    values: [id, enabled],
  })
  return rows.length > 0
}

/**
 * Adds a new secret. Until the rotation ends (endRotation), webhooks carry a signature of the new
 * secret and then one of the previous secret.
 */
export async function rotateSecret(database: Database, id: Id, secret: string): Promise<boolean> {
  const rows = await database.query({
    text: 'update webhook_endpoints set secrets = array[$2, secrets[1]] where id = $1 and secrets[1] <> $2 returning 1',
    values: [id, secret],
  })
  return rows.length > 0
}

export async function endRotation(database: Database, id: Id): Promise<boolean> {
  const rows = await database.query({
    text: 'update webhook_endpoints set secrets = array[secrets[1]] where id = $1 returning 1',
    values: [id],
  })
  return rows.length > 0
}

export interface DeadLetter {
  readonly endpoint: Id
  readonly conversation: Id
  readonly seq: number
  readonly eventId: string
  readonly attempts: number
  readonly lastStatus: number | null
  readonly lastError: string | null
  readonly deadAt: string
}

export async function listDeadLetters(database: Database, max: number): Promise<DeadLetter[]> {
  return database.query<DeadLetter>({
    text: `select endpoint, conversation, seq, event_id as "eventId", attempts, last_status as "lastStatus",
                  last_error as "lastError", dead_at as "deadAt"
             from webhook_deliveries where dead_at is not null order by dead_at desc limit $1`,
    values: [max],
  })
}

/**
 * Makes a dead letter due again, for one endpoint or for all. Returns the number of endpoints that
 * had this dead letter.
 */
export async function retryDeadLetter(database: Database, eventId: string, endpoint: Id | undefined): Promise<number> {
  const rows = await database.query<{ n: number }>({
    text: `with dead as (
             select array_agg(endpoint) as e, array_agg(conversation) as c, array_agg(seq) as s, array_agg(event_id) as i, count(*)::int as n
               from webhook_deliveries where dead_at is not null and event_id = $1 and ($2::uuid is null or endpoint = $2))
           select n, case when n > 0 then queue_deliveries(e, c, s, i)::text end from dead`,
    values: [eventId, endpoint ?? null],
  })
  return rows[0]?.n ?? 0
}

export type ReplayFrom =
  | { readonly kind: 'seq'; readonly conversation: Id; readonly seq: number }
  | { readonly kind: 'time'; readonly since: string }

/**
 * Makes all changes since `from` that the endpoint wants due again, with the same event ids.
 * Returns their number, or undefined if the endpoint does not exist.
 */
export async function replay(database: Database, id: Id, from: ReplayFrom, epoch: string): Promise<number | undefined> {
  const known = await database.query({ text: 'select from webhook_endpoints where id = $1', values: [id] })
  if (known.length === 0) return undefined
  const starts = await database.query<{ conversation: Id; seq: number; top: number }>(
    from.kind === 'seq'
      ? {
          text: 'select id as conversation, $2::bigint as seq, seq as top from conversations where id = $1',
          values: [from.conversation, from.seq],
        }
      : {
          // Within a conversation, times rise with seq. So search down from the newest change to
          // the first one that is too old.
          text: `select v.id as conversation, v.seq as top, 1 + coalesce(
                   (select c.seq from changes c where c.conversation = v.id and c.at < $1 order by c.seq desc limit 1), 0) as seq
                   from conversations v where v.last_at >= $1
                    and v.id is distinct from (select (s.value::json ->> 'conversation')::uuid from settings s where s.key = 'canary')`,
          values: [from.since],
        },
  )
  let queued = 0
  for (const { conversation, seq, top } of starts) {
    for (let first = seq; first <= top; first += replayPageMax) {
      const rows = await database.query<{ n: number }>({
        name: 'replay_webhook',
        text: `with wanted as (
                 select c.conversation, c.seq from changes c join webhook_endpoints e on e.id = $1
                  where c.conversation = $2 and c.seq between $3 and $4 and c.type <> 'skip'
                    and (e.types is null or c.type = any (e.types)) order by c.seq),
               lists as (
                 select array_agg($1::uuid) as e, array_agg(conversation) as c, array_agg(seq) as s,
                        array_agg($5 || '.' || conversation || '.' || seq) as i, count(*)::int as n from wanted)
               select n, case when n > 0 then queue_deliveries(e, c, s, i)::text end from lists`,
        values: [id, conversation, first, Math.min(top, first + replayPageMax - 1), historyTagOf(epoch)],
      })
      queued += rows[0]?.n ?? 0
    }
  }
  return queued
}
