/** Signs tokens for tests, with node:crypto alone, so that no test trusts the library under test. */
import { createHmac, createPrivateKey, generateKeyPairSync, sign } from 'node:crypto'

export interface SigningKey {
  readonly alg: string
  readonly kid: string
  readonly sign: (input: string) => Buffer
  /** Public JWK, without `kid`. Undefined for a secret. */
  readonly jwk: { readonly [member: string]: unknown } | undefined
}

export const encodeTokenPart = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

export function makeSecretKey(kid: string, secret: string): SigningKey {
  return {
    alg: 'HS256',
    kid,
    sign: (input) => createHmac('sha256', secret).update(input).digest(),
    jwk: undefined,
  }
}

const pairs = {
  EdDSA: () => generateKeyPairSync('ed25519'),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2_048 }),
} as const

export function makeKeyPair(alg: keyof typeof pairs, kid: string): SigningKey {
  const { privateKey, publicKey } = pairs[alg]()
  const key = createPrivateKey({ key: privateKey.export({ format: 'pem', type: 'pkcs8' }) })
  return {
    alg,
    kid,
    sign: (input) => sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }),
    jwk: publicKey.export({ format: 'jwk' }),
  }
}

export interface TestClaims {
  readonly [claim: string]: unknown
}

/** Returns claims of a token that is valid for five minutes. */
export function makeClaims(sub: string, nowS = Math.floor(Date.now() / 1_000)): TestClaims {
  return { sub, iat: nowS, exp: nowS + 300 }
}

/** Signs the claims. `header` replaces members of the header. */
export function signToken(key: SigningKey, claims: TestClaims, header: object = {}): string {
  const input = `${encodeTokenPart({ alg: key.alg, kid: key.kid, typ: 'JWT', ...header })}.${encodeTokenPart(claims)}`
  return `${input}.${key.sign(input).toString('base64url')}`
}
