/**
 * Stores the API keys of integrators. Of a secret, only the SHA-256 is stored. The signing secret is
 * stored as it is, because the server verifies user tokens with it.
 */
import type { Id, KeyScope } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

export const keyLimits = {
  /** Maximum number of live keys. Every server holds all of them in memory. */
  keysMax: 100,
  /** Maximum number of public keys of one API key. */
  publicKeysMax: 20,
} as const

/** Id of a key: the `kid` of tokens that are signed with the key's signing secret. */
export const keyIdPattern = /^key_[a-z0-9]{16}$/

/** Time limit of the read of all live keys. Part of the time in which a revocation takes effect. */
const readTimeoutMs = 900

/** API key that is live: neither revoked nor ended. */
export interface ApiKey {
  readonly id: string
  readonly name: string
  readonly scopes: readonly KeyScope[]
  /** User that the key acts as without `Chorus-As`. */
  readonly botUser: Id
  /** SHA-256 of the secret in hex; during a rotation, also of the previous secret. */
  readonly secretHashes: readonly string[]
  /** Secrets that verify user tokens (HS256), the newest first. */
  readonly signingSecrets: readonly string[]
  readonly publicKeys: readonly PublicKey[]
  /** URL of a JWK set. */
  readonly keySetUrl: string | undefined
  /** Time at which the key ends, in ISO 8601. Undefined: never. */
  readonly endsAt?: string | undefined
}

/** Public key that verifies user tokens. */
export interface PublicKey {
  readonly kid: string
  readonly jwk: { readonly [member: string]: unknown }
}

const live = 'k.revoked_at is null and (k.ends_at is null or k.ends_at > now())'

/** Returns all live keys with their public keys. */
export async function readLiveKeys(database: Database): Promise<ApiKey[]> {
  const rows = await database.query<{
    readonly id: string
    readonly name: string
    readonly scopes: readonly KeyScope[]
    readonly bot_user: Id
    readonly secret_hash: string
    readonly previous_secret_hash: string | null
    readonly signing_secret: string
    readonly previous_signing_secret: string | null
    readonly public_keys: readonly PublicKey[] | null
    readonly url: string | null
    readonly ends_at: string | null
  }>({
    name: 'read-live-keys',
    text: `select k.id, k.name, k.scopes, k.bot_user, encode(k.secret_hash, 'hex') as secret_hash,
                  encode(k.previous_secret_hash, 'hex') as previous_secret_hash, k.signing_secret,
                  k.previous_signing_secret, k.ends_at, s.url,
                  (select json_agg(json_build_object('kid', p.kid, 'jwk', p.jwk) order by p.kid)
                     from api_public_keys p where p.key_id = k.id) as public_keys
             from api_keys k left join api_key_sets s on s.key_id = k.id
            where ${live} order by k.created_at limit ${keyLimits.keysMax}`,
    timeoutMs: readTimeoutMs,
  })
  return rows.map((row) => ({
    id: row.id,
    name: row.name,
    scopes: row.scopes,
    botUser: row.bot_user,
    secretHashes: [row.secret_hash, row.previous_secret_hash].filter((hash) => hash !== null),
    signingSecrets: [row.signing_secret, row.previous_signing_secret].filter((secret) => secret !== null),
    publicKeys: row.public_keys ?? [],
    keySetUrl: row.url ?? undefined,
    endsAt: row.ends_at ?? undefined,
  }))
}

export interface NewKey {
  readonly id: string
  readonly name: string
  readonly scopes: readonly KeyScope[]
  readonly secretHash: Buffer
  readonly signingSecret: string
  /** Time in ISO 8601 at which the key ends, or null for a key without an end. */
  readonly endsAt: string | null
  readonly bot: { readonly id: Id; readonly handle: string; readonly passwordHash: string }
}

/**
 * Stores a key and its bot user in one statement. Returns false if there are
 * {@link keyLimits.keysMax} live keys already. A repeated call with the same ids stores nothing.
 */
export async function insertKey(database: Database, key: NewKey): Promise<boolean> {
  const rows = await database.query({
    text: `with room as (
             select 1 from (select count(*) as live from api_keys k where ${live} and k.id <> $1) c
              where c.live < ${keyLimits.keysMax}),
           bot as (
             insert into users (id, handle, name, password_hash, bot)
             select $7, $8, $2, $9, true from room
             on conflict (id) do update set id = excluded.id returning id)
           insert into api_keys (id, name, scopes, secret_hash, signing_secret, ends_at, bot_user)
           select $1, $2, $3::text[], $4, $5, $6::timestamptz, bot.id from bot
           on conflict (id) do update set id = excluded.id returning id`,
    values: [
      key.id,
      key.name,
      key.scopes,
      key.secretHash,
      key.signingSecret,
      key.endsAt,
      key.bot.id,
      key.bot.handle,
      key.bot.passwordHash,
    ],
  })
  return rows.length > 0
}

/** API key as operators see it, without its secrets. */
export interface KeyRecord {
  readonly id: string
  readonly name: string
  readonly scopes: readonly KeyScope[]
  readonly createdAt: string
  readonly lastUsedAt: string | null
  readonly endsAt: string | null
  readonly revokedAt: string | null
  readonly isLive: boolean
  /** Whether the secrets before the last rotation are still valid. */
  readonly isRotating: boolean
  /** Ids of the public keys. */
  readonly kids: readonly string[]
  readonly keySetUrl: string | null
}

const listMax = 200

/** Returns at most 200 keys: live keys first, then ended and revoked ones, each newest first. */
export function listKeys(database: Database): Promise<KeyRecord[]> {
  return database.query<KeyRecord>({
    text: `select k.id, k.name, k.scopes, k.created_at as "createdAt", k.last_used_at as "lastUsedAt",
                  k.ends_at as "endsAt", k.revoked_at as "revokedAt", (${live}) as "isLive",
                  k.previous_secret_hash is not null as "isRotating",
                  array(select p.kid from api_public_keys p where p.key_id = k.id order by p.kid) as kids,
                  (select s.url from api_key_sets s where s.key_id = k.id) as "keySetUrl"
             from api_keys k order by (${live}) desc, k.created_at desc limit ${listMax}`,
  })
}

/**
 * Gives a live key new secrets. The previous secrets stay valid until {@link endKeyRotation}.
 * Returns false without such a key, or during another rotation.
 */
export async function rotateKey(
  database: Database,
  id: string,
  secretHash: Buffer,
  signingSecret: string,
): Promise<boolean> {
  const rows = await database.query({
    // A repeated call finds its own secret, and changes nothing.
    text: `update api_keys k
              set previous_secret_hash = case when secret_hash = $2 then previous_secret_hash else secret_hash end,
                  previous_signing_secret = case when secret_hash = $2 then previous_signing_secret else signing_secret end,
                  secret_hash = $2, signing_secret = $3
            where k.id = $1 and ${live} and (k.previous_secret_hash is null or k.secret_hash = $2) returning k.id`,
    values: [id, secretHash, signingSecret],
  })
  return rows.length > 0
}

/** Ends the previous secrets of a live key. Returns false without such a key. */
export async function endKeyRotation(database: Database, id: string): Promise<boolean> {
  const rows = await database.query({
    text: `update api_keys k set previous_secret_hash = null, previous_signing_secret = null
            where k.id = $1 and ${live} returning k.id`,
    values: [id],
  })
  return rows.length > 0
}

/** Revokes a key. Returns false without such a key. */
export async function revokeKey(database: Database, id: string): Promise<boolean> {
  const rows = await database.query({
    text: 'update api_keys set revoked_at = coalesce(revoked_at, now()) where id = $1 returning id',
    values: [id],
  })
  return rows.length > 0
}

/** Maximum number of sessions that one statement revokes. */
const sessionsPerStep = 1_000

/**
 * Revokes the sessions that began with tokens of the key, and returns their number. Servers find
 * the revocations with their next sweep (rule ACL2).
 */
export async function revokeKeySessions(database: Database, id: string): Promise<number> {
  let revoked = 0
  for (;;) {
    const rows = await database.query({
      text: `update sessions set revoked_at = now(), xid = pg_current_xact_id()
              where id = any (array(select id from sessions
                                     where key_id = $1 and revoked_at is null and expires_at > now()
                                     limit ${sessionsPerStep}))
             returning id`,
      values: [id],
    })
    revoked += rows.length
    if (rows.length < sessionsPerStep) return revoked
  }
}

/**
 * Adds a public key to a live key, or replaces the one with the same kid. Returns `full` at the
 * limit, and `missing` without such a live key.
 */
export async function addPublicKey(
  database: Database,
  id: string,
  { kid, jwk }: PublicKey,
): Promise<'added' | 'full' | 'missing'> {
  const [row] = await database.query<{ added: boolean }>({
    text: `with target as (
             select k.id, (select count(*) from api_public_keys p where p.key_id = k.id and p.kid <> $2) as others
               from api_keys k where k.id = $1 and ${live}),
           added as (
             insert into api_public_keys (kid, key_id, jwk)
             select $2, id, $3::jsonb from target where others < ${keyLimits.publicKeysMax}
             on conflict (kid, key_id) do update set jwk = excluded.jwk returning kid)
           select exists (select from added) as added from target`,
    values: [id, kid, JSON.stringify(jwk)],
  })
  if (row === undefined) return 'missing'
  return row.added ? 'added' : 'full'
}

/** Removes a public key. Returns false without such a public key. */
export async function removePublicKey(database: Database, id: string, kid: string): Promise<boolean> {
  const rows = await database.query({
    text: 'delete from api_public_keys where key_id = $1 and kid = $2 returning kid',
    values: [id, kid],
  })
  return rows.length > 0
}

/**
 * Sets the URL of the key's JWK set, or removes it if `url` is null. Returns false without such a
 * live key.
 */
export async function setKeySet(database: Database, id: string, url: string | null): Promise<boolean> {
  const rows = await database.query({
    text: `with target as (select k.id from api_keys k where k.id = $1 and ${live}),
           removed as (delete from api_key_sets s using target t where s.key_id = t.id and $2::text is null),
           added as (
             insert into api_key_sets (key_id, url) select id, $2 from target where $2::text is not null
             on conflict (key_id) do update set url = excluded.url)
           select id from target`,
    values: [id, url],
  })
  return rows.length > 0
}

/** Stores that these keys were used now. */
export async function touchKeys(database: Database, ids: readonly string[]): Promise<void> {
  await database.query({
    text: 'update api_keys set last_used_at = greatest(last_used_at, now()) where id = any ($1::text[])',
    values: [ids],
  })
}
