/**
 * Stores the requests with an `Idempotency-Key` and their responses (http/idempotency.ts). The primary
 * key makes concurrent requests with one key take turns.
 */
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
