/**
 * Reads the Ed25519 keys that sign cards, and makes the first one. The unique index of the key in
 * use decides between servers that start together, so a deployment signs with one key.
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

/** Maximum number of published keys. Older ones are left out. */
const publishedMax = 100

interface KeyRow {
  readonly kid: string
  readonly private_jwk: JWK
  readonly public_jwk: { readonly x: string }
  readonly created_at: string
  readonly retired_at: string | null
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
    text: `select kid, private_jwk, public_jwk, created_at, retired_at from signing_keys
            order by retired_at desc nulls first limit ${publishedMax}`,
  })
}

function toSigningKeys(rows: readonly KeyRow[]): SigningKeys | undefined {
  const current = rows.find((row) => row.retired_at === null)
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
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const publicJwk = await exportJWK(publicKey)
  await database.query({
    text: `insert into signing_keys (kid, private_jwk, public_jwk) values ($1, $2::jsonb, $3::jsonb) on conflict do nothing`,
    values: [
      await calculateJwkThumbprint(publicJwk),
      JSON.stringify(await exportJWK(privateKey)),
      JSON.stringify(publicJwk),
    ],
  })
}
