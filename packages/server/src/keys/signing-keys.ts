/**
 * Reads the Ed25519 keys that sign cards, makes the first one, and replaces the key in use. The
 * unique index of the key without an end decides between servers that start together, so a
 * deployment signs with one key. A replaced key stays published with its period (rule CARD2).
 *
 * A new key is published before a server signs with it, and the old one ends later. Servers and
 * clients may hold the keys for a minute, so none meets a signature of a key that it cannot know.
 */
import type { CardKey } from '@chorus/protocol'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'
import type { Database } from '../database/database.ts'

export interface SigningKeys {
  /** Key in use, with its private part. */
  readonly current: { readonly kid: string; readonly privateJwk: JWK }
  /** Public keys, the newest first, with the period in which each one signed. */
  readonly published: readonly CardKey[]
}

/** Maximum number of published keys. The oldest ones are left out. */
const publishedMax = 100

/** Time from the publication of a new key to its use, and from there to the end of the old key. */
const rotationStep = `interval '2 minutes'`

interface KeyRow {
  readonly kid: string
  readonly private_jwk: JWK
  readonly public_jwk: { readonly x: string }
  readonly created_at: string
  readonly retired_at: string | null
  readonly is_valid: boolean
}

/** Returns the signing keys. Makes the first one if there is none in use. */
export async function readSigningKeys(database: Database): Promise<SigningKeys> {
  const found = toSigningKeys(await readRows(database))
  if (found !== undefined) return found
  await insertKey(database)
  const made = toSigningKeys(await readRows(database))
  if (made === undefined) throw new Error('the database has no key that signs cards')
  return made
}

function readRows(database: Database): Promise<KeyRow[]> {
  return database.query<KeyRow>({
    text: `select kid, private_jwk, public_jwk, created_at, retired_at,
                  created_at <= now() and (retired_at is null or retired_at > now()) as is_valid
             from signing_keys order by created_at desc limit ${publishedMax}`,
  })
}

function toSigningKeys(rows: readonly KeyRow[]): SigningKeys | undefined {
  const current = rows.find((row) => row.is_valid) ?? rows.find((row) => row.retired_at === null)
  if (current === undefined) return undefined
  return {
    current: { kid: current.kid, privateJwk: current.private_jwk },
    published: rows.map(({ kid, public_jwk, created_at, retired_at }) => ({
      kty: 'OKP',
      crv: 'Ed25519',
      x: public_jwk.x,
      kid,
      alg: 'EdDSA',
      use: 'sig',
      validFrom: new Date(created_at).toISOString(),
      validUntil: retired_at === null ? null : new Date(retired_at).toISOString(),
    })),
  }
}

async function insertKey(database: Database): Promise<void> {
  await database.query({
    text: `insert into signing_keys (kid, private_jwk, public_jwk) values ($1, $2::jsonb, $3::jsonb) on conflict do nothing`,
    values: await generateKey(),
  })
}

/**
 * Replaces the key in use. Returns the new key and the time from which servers sign with it. Returns
 * undefined, and changes nothing, until a new key of an earlier call is in use.
 */
export async function rotateSigningKey(
  database: Database,
): Promise<{ readonly kid: string; readonly validFrom: string } | undefined> {
  await readSigningKeys(database)
  const [row] = await database.query<{ kid: string; created_at: string }>({
    text: `with old as (
             update signing_keys set retired_at = now() + 2 * ${rotationStep}
              where retired_at is null and created_at <= now() returning kid)
           insert into signing_keys (kid, private_jwk, public_jwk, created_at)
           select $1, $2::jsonb, $3::jsonb, now() + ${rotationStep} from old
           returning kid, created_at`,
    values: await generateKey(),
  })
  return row && { kid: row.kid, validFrom: new Date(row.created_at).toISOString() }
}

/** Returns a new key as parameters: its thumbprint, and the private and the public part as JSON. */
async function generateKey(): Promise<readonly string[]> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const publicJwk = await exportJWK(publicKey)
  const privateJwk = await exportJWK(privateKey)
  return [await calculateJwkThumbprint(publicJwk), JSON.stringify(privateJwk), JSON.stringify(publicJwk)]
}
