/**
 * Stores the requests with an `Idempotency-Key` and their responses (http/idempotency.ts). The primary
 * key makes concurrent requests with one key take turns.
 */
import { ChorusError, type Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

/** Identity of a request, and the hash of its body. */
export interface Call {
  readonly keyId: string
  readonly key: string
  readonly method: string
  readonly path: string
  readonly asUser: string
  readonly bodyHash: Buffer
}

export interface StoredAnswer {
  readonly status: number
  readonly body: string | null
}

export type Claim =
  | { readonly kind: 'claimed' | 'running' | 'other-body' }
  | { readonly kind: 'answered'; readonly answer: StoredAnswer }

/** Hours for which a response is kept. */
const keptHours = 24
/**
 * Seconds after which a request without a response may run again, because its server has ended.
 * Longer than a request may take.
 */
const claimedSeconds = 60
/** Status of a request that still runs. */
const running = 0

const isCall = 'key_id = $1 and key = $2 and method = $3 and path = $4 and as_user = $5'
const identityOf = ({ keyId, key, method, path, asUser }: Call): readonly unknown[] => [
  keyId,
  key,
  method,
  path,
  asUser,
]

/** Claims the right to run the request, unless another request has it or has run. */
export async function claimCall(database: Database, call: Call): Promise<Claim> {
  const [row] = await database.query<StoredAnswer & { body_hash: Buffer; claimed: boolean }>({
    name: 'claim-call',
    text: `with mine as (
             insert into idempotency_keys as k (key_id, key, method, path, as_user, body_hash, status)
             values ($1, $2, $3, $4, $5, $6, ${running})
             on conflict (key_id, key, method, path, as_user) do update
                set body_hash = excluded.body_hash, status = ${running}, body = null, created_at = now()
              where k.created_at < now() - make_interval(hours => ${keptHours})
                 or (k.status = ${running} and k.created_at < now() - make_interval(secs => ${claimedSeconds}))
             returning status, body, body_hash)
           select status, body, body_hash, true as claimed from mine
           union all
           select status, body, body_hash, false from idempotency_keys
            where ${isCall} and not exists (select from mine)`,
    values: [...identityOf(call), call.bodyHash],
  })
  // The row was inserted after this statement began, so it is not visible yet.
  if (row === undefined) return { kind: 'running' }
  if (row.claimed) return { kind: 'claimed' }
  if (!row.body_hash.equals(call.bodyHash)) return { kind: 'other-body' }
  return row.status === running ? { kind: 'running' } : { kind: 'answered', answer: row }
}

/** Stores the response to a claimed request. */
export async function storeAnswer(database: Database, call: Call, { status, body }: StoredAnswer): Promise<void> {
  await database.query({
    name: 'store-answer',
    text: `update idempotency_keys set status = $6, body = $7 where ${isCall}`,
    values: [...identityOf(call), status, body],
  })
}

/** Removes the claim, so that the next request with this key runs. */
export async function forgetCall(database: Database, call: Call): Promise<void> {
  await database.query({
    name: 'forget-call',
    text: `delete from idempotency_keys where ${isCall} and status = ${running}`,
    values: identityOf(call),
  })
}

const pruning = {
  batchMax: 5_000,
  /** Maximum number of batches in one run. Remaining responses wait for the next run. */
  batchesMax: 2_000,
} as const

/** Deletes the responses older than {@link keptHours} in limited batches. Returns their number. */
export async function pruneCalls(database: Database, isStopped: () => boolean = () => false): Promise<number> {
  let deleted = 0
  for (let batch = 0; batch < pruning.batchesMax && !isStopped(); batch++) {
    const rows = await database.query({
      text: `delete from idempotency_keys where ctid = any (array(
               select ctid from idempotency_keys where created_at < now() - make_interval(hours => ${keptHours})
                order by created_at limit $1)) returning 1`,
      values: [pruning.batchMax],
    })
    deleted += rows.length
    if (rows.length < pruning.batchMax) break
  }
  return deleted
}

/** Place before the first response, in the order of {@link eraseAnswers}. */
export const firstCall: Omit<Call, 'bodyHash'> = { keyId: '', key: '', method: '', path: '', asUser: '' }

/** Maximum number of responses that one step of an erasure reads. Each has up to a megabyte. */
const erasedPerStep = 100

/**
 * Erases the responses after a place that name this user: a response with a text or profile of a
 * user names them. A repeated request is then refused, and does not run again. Returns the last
 * place that was looked at, or undefined if there are no more responses.
 */
export async function eraseAnswers(
  database: Database,
  user: Id,
  after: Omit<Call, 'bodyHash'>,
): Promise<Omit<Call, 'bodyHash'> | undefined> {
  const erased = new ChorusError('not-found', 'unable to answer; the response was erased together with a user')
  const [row] = await database.query<Omit<Call, 'bodyHash'>>({
    name: 'erase-answers',
    text: `with next as materialized (
             select ctid as place, * from idempotency_keys
              where (key_id, key, method, path, as_user) > ($1, $2, $3, $4, $5)
              order by key_id, key, method, path, as_user limit ${erasedPerStep}),
           erased as (
             update idempotency_keys k set status = $7, body = $8
              where k.ctid = any (array(select place from next where position($6 in body) > 0)))
           select key_id as "keyId", key, method, path, as_user as "asUser" from next
            order by key_id desc, key desc, method desc, path desc, as_user desc limit 1`,
    values: [
      ...identityOf({ ...after, bodyHash: Buffer.alloc(0) }),
      user,
      erased.status,
      JSON.stringify(erased.toBody()),
    ],
  })
  return row
}
