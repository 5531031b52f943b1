/**
 * Keys that verify user tokens. The kind of the key decides its algorithm, never the header of a
 * token alone: a signing secret verifies HS256 only, and a public key only the algorithm of its
 * type. So a public key cannot be used as an HMAC secret.
 */
import { type CryptoKey, importJWK } from 'jose'

export const tokenAlgorithms = ['HS256', 'EdDSA', 'ES256', 'RS256'] as const
export type TokenAlgorithm = (typeof tokenAlgorithms)[number]

/** A key in the form in which it is stored. */
export interface VerificationKey {
  /** Identity of the key with its material. A key with the same id verifies the same tokens. */
  readonly id: string
  /** API key that it belongs to. */
  readonly keyId: string
  readonly algorithm: TokenAlgorithm
  readonly jwk: PublicJwk | SecretJwk
}

/** Public members of a JWK, and nothing else. */
type PublicJwk =
  | { readonly kty: 'OKP'; readonly crv: 'Ed25519'; readonly x: string }
  | { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string }

interface SecretJwk {
  readonly kty: 'oct'
  readonly k: string
}

const rsaBytes = { min: 256, max: 1_024, exponentMax: 8 } as const
const coordinateChars = 43
const base64url = /^[\w-]+$/

/**
 * Returns the verification key of a JWK. Undefined: no algorithm of tokens uses such a key, or the
 * JWK says that it is for something else.
 */
export function readPublicJwk(keyId: string, jwk: { readonly [member: string]: unknown }): VerificationKey | undefined {
  const found = publicPartOf(jwk)
  if (found === undefined) return undefined
  const [algorithm, publicJwk] = found
  const { use, key_ops: operations, alg } = jwk
  if (use !== undefined && use !== 'sig') return undefined
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return undefined
  if (alg !== undefined && alg !== algorithm) return undefined
  return { id: `${keyId} ${JSON.stringify(publicJwk)}`, keyId, algorithm, jwk: publicJwk }
}

function publicPartOf({
  kty,
  crv,
  x,
  y,
  n,
  e,
}: {
  readonly [member: string]: unknown
}): readonly [TokenAlgorithm, PublicJwk] | undefined {
  if (kty === 'OKP' && crv === 'Ed25519' && isCoordinate(x)) return ['EdDSA', { kty, crv, x }]
  if (kty === 'EC' && crv === 'P-256' && isCoordinate(x) && isCoordinate(y)) return ['ES256', { kty, crv, x, y }]
  if (kty !== 'RSA' || typeof n !== 'string' || typeof e !== 'string') return undefined
  if (!base64url.test(n) || !base64url.test(e)) return undefined
  // A huge modulus or exponent would make each verification slow.
  const [modulusBytes, exponentBytes] = [n, e].map((text) => Buffer.from(text, 'base64url').length) as [number, number]
  if (modulusBytes < rsaBytes.min || modulusBytes > rsaBytes.max || exponentBytes > rsaBytes.exponentMax)
    return undefined
  return ['RS256', { kty, n, e }]
}

function isCoordinate(value: unknown): value is string {
  return typeof value === 'string' && value.length === coordinateChars && base64url.test(value)
}

/** Returns the key of a signing secret. The bytes of its text are the HMAC key. */
export function toSecretKey(keyId: string, secret: string): VerificationKey {
  const jwk = { kty: 'oct', k: Buffer.from(secret).toString('base64url') } as const
  return { id: `${keyId} ${jwk.k}`, keyId, algorithm: 'HS256', jwk }
}

/** Maximum number of imported keys; far above what the API keys of a deployment can name. */
const importedMax = 10_000
const imported = new Map<string, Promise<CryptoKey>>()

/** Returns the key in the form that verifies. Imports each key once. */
export function importKey(key: VerificationKey): Promise<CryptoKey> {
  const known = imported.get(key.id)
  if (known !== undefined) return known
  const importing = toCryptoKey(key)
  if (imported.size >= importedMax) imported.clear()
  imported.set(key.id, importing)
  return importing
}

async function toCryptoKey({ algorithm, jwk }: VerificationKey): Promise<CryptoKey> {
  // With importJWK, a secret becomes bytes, which jose would import again for each token.
  if (jwk.kty === 'oct')
    return crypto.subtle.importKey('jwk', { ...jwk }, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
  const key = await importJWK({ ...jwk }, algorithm)
  if (key instanceof Uint8Array) throw new TypeError('a public key was read as a secret')
  return key
}
