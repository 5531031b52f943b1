import { createHmac, createPublicKey } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { makeClaims, encodeTokenPart, makeKeyPair, makeSecretKey, signToken, type SigningKey } from '@chorus/testkit'
import { readPublicJwk, toSecretKey, type VerificationKey } from './verification-key.ts'
import { checkClaims, parseToken, type TokenClaims, verifySignature } from './verify-token.ts'

const nowS = 1_800_000_000
const secret = 'a signing secret of forty-three characters!'
const keys = {
  HS256: makeSecretKey('key_a', secret),
  EdDSA: makeKeyPair('EdDSA', 'k-ed'),
  ES256: makeKeyPair('ES256', 'k-es'),
  RS256: makeKeyPair('RS256', 'k-rs'),
}

const toVerify = (key: SigningKey): VerificationKey =>
  key.jwk === undefined ? toSecretKey('key_a', secret) : readPublicJwk('key_a', key.jwk)!

async function verify(token: string, against: readonly VerificationKey[], audience?: string): Promise<TokenClaims> {
  const { header, claims } = parseToken(token)
  checkClaims(claims, { nowS, audience })
  await verifySignature(token, header, against)
  return claims
}

const refuses = (token: string, against: readonly VerificationKey[], reason: string, audience?: string) =>
  expect(verify(token, against, audience)).rejects.toMatchObject({
    code: 'unauthenticated',
    message: expect.stringContaining(reason) as string,
  })

describe('signatures', () => {
  it.each(Object.values(keys))('[TOKEN1] accepts $alg and refuses any change to it', async (key) => {
    const claims = { ...makeClaims('ada', nowS), name: 'Ada' }
    const token = signToken(key, claims)
    expect(await verify(token, [toVerify(key)])).toEqual(claims)
    const [head = '', , signature = ''] = token.split('.')
    await refuses(
      `${head}.${encodeTokenPart({ ...claims, sub: 'eve' })}.${signature}`,
      [toVerify(key)],
      'its signature is wrong',
    )
    await refuses(`${head}.${encodeTokenPart(claims)}.`, [toVerify(key)], 'its signature is wrong')
    await refuses(token, [], 'its signature is wrong')
  })

  it('[TOKEN1] accepts both secrets of a rotation', async () => {
    const token = signToken(
      makeSecretKey('key_a', 'the one before, also forty-three characters'),
      makeClaims('ada', nowS),
    )
    const before = toSecretKey('key_a', 'the one before, also forty-three characters')
    await verify(token, [toVerify(keys.HS256), before])
    await refuses(token, [toVerify(keys.HS256)], 'its signature is wrong')
  })

  it.each(['none', 'None', 'HS384', 'HS512', 'PS256', 'ES384', 'RS512', '', undefined, 7])(
    '[TOKEN1] refuses alg %j',
    async (alg) => {
      const all = Object.values(keys).map(toVerify)
      await refuses(signToken(keys.HS256, makeClaims('ada', nowS), { alg }), all, 'alg must be one of')
    },
  )

  it('[TOKEN1] uses no public key as an HMAC secret', async () => {
    const jwk = keys.RS256.jwk as { n: string }
    const pem = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
    for (const material of [pem, JSON.stringify(jwk), jwk.n, Buffer.from(jwk.n, 'base64url')]) {
      const forged: SigningKey = {
        alg: 'HS256',
        kid: 'k-rs',
        jwk: undefined,
        sign: (input) => createHmac('sha256', material).update(input).digest(),
      }
      await refuses(signToken(forged, makeClaims('ada', nowS)), [toVerify(keys.RS256)], 'its signature is wrong')
    }
  })

  it('[TOKEN1] ignores keys and addresses in the header', async () => {
    const mine = makeKeyPair('EdDSA', 'k-ed')
    const header = { jwk: mine.jwk, jku: 'https://evil.example', x5u: 'https://evil.example' }
    await refuses(signToken(mine, makeClaims('ada', nowS), header), [toVerify(keys.EdDSA)], 'its signature is wrong')
  })

  it('refuses a stored key that no library can import', async () => {
    const offCurve = { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'B'.repeat(42) + 'A' }
    await refuses(
      signToken(keys.ES256, makeClaims('ada', nowS)),
      [readPublicJwk('key_a', offCurve)!],
      'signature is wrong',
    )
  })
})

describe('form', () => {
  it.each([
    ['x'.repeat(8_193), 'longer than 8192 characters'],
    ['sk_abc_def', 'secret of an API key'],
    ['', 'three parts'],
    ['a.b', 'three parts'],
    ['a.b.c.d.e', 'three parts'],
    ['a.b.c d', 'three parts'],
    [`${encodeTokenPart('text')}.${encodeTokenPart({})}.x`, 'header is not JSON'],
    [`!!.${encodeTokenPart({})}.x`, 'three parts'],
    [`${encodeTokenPart({ alg: 'HS256' })}.${encodeTokenPart({})}.x`, 'needs a kid'],
    [`${encodeTokenPart({ alg: 'HS256', kid: 'k'.repeat(129) })}.${encodeTokenPart({})}.x`, 'needs a kid'],
    [`${encodeTokenPart({ alg: 'HS256', kid: 7 })}.${encodeTokenPart({})}.x`, 'needs a kid'],
    [`${encodeTokenPart({ alg: 'HS256', kid: 'k', crit: ['exp'], exp: 1 })}.${encodeTokenPart({})}.x`, 'crit'],
    [`${encodeTokenPart({ alg: 'HS256', kid: 'k' })}.${encodeTokenPart([1])}.x`, 'not a JSON object'],
    [`${encodeTokenPart({ alg: 'HS256', kid: 'k' })}.${'['.repeat(4_000)}.x`, 'three parts'],
  ])('[TOKEN1] refuses %j', (token, reason) => {
    expect(() => parseToken(token)).toThrow(reason)
  })

  it('[LIM1] reads nothing of a token that is too long', () => {
    const startMs = performance.now()
    for (let n = 0; n < 1_000; n++) expect(() => parseToken('a.'.repeat(60_000))).toThrow('longer')
    expect(performance.now() - startMs).toBeLessThan(2_000)
  })
})

describe('claims', () => {
  const base = makeClaims('ada', nowS)
  it.each([
    [{ exp: nowS }, 'it has expired'],
    [{ exp: nowS - 30 }, 'it has expired'],
    [{ iat: nowS + 61 }, 'not valid yet'],
    [{ nbf: nowS + 61 }, 'not valid yet'],
    [{ exp: nowS + 86_401 }, 'exp is more than 24 hours after iat'],
    [{ iat: nowS + 50, exp: nowS + 50 }, 'exp is not after iat'],
    [{ iat: undefined }, 'claim iat'],
    [{ exp: undefined }, 'claim exp'],
    [{ iat: String(nowS) }, 'claim iat'],
    [{ iat: -1 }, 'claim iat'],
    [{ sub: undefined }, 'claim sub'],
    [{ sub: '' }, 'claim sub'],
    [{ sub: 7 }, 'claim sub'],
    [{ sub: 'x'.repeat(129) }, 'claim sub'],
    [{ sub: 'a\u0000b' }, 'claim sub'],
    [{ sub: '\ud800' }, 'claim sub'],
    [{ name: '' }, 'claim name'],
    [{ name: 'two\nlines' }, 'claim name'],
    [{ avatar: 'javascript:alert(1)' }, 'claim avatar'],
    [{ handle: 'a b' }, 'claim handle'],
    [{ aud: 7 }, 'claim aud'],
    [{ aud: 'https://chat.example' }, 'neither TOKEN_AUDIENCE nor PUBLIC_URL'],
  ])('[TOKEN1] refuses %j', async (claims, reason) => {
    await refuses(signToken(keys.HS256, { ...base, ...claims }), [toVerify(keys.HS256)], reason)
  })

  it.each([
    [{ exp: nowS + 1 }],
    [{ iat: nowS + 60 }],
    [{ nbf: nowS + 60 }],
    [{ exp: nowS + 86_400 }],
    [{ iat: nowS - 80_000, exp: nowS + 1 }],
    [{ sub: ' Ada/é\u0301 ' }],
    [{ sub: 'x'.repeat(128) }],
    [{ avatar: null }],
    [{ scope: ['x'], admin: true }],
  ])('[TOKEN1] accepts %j', async (claims) => {
    const { sub } = await verify(signToken(keys.HS256, { ...base, ...claims }), [toVerify(keys.HS256)])
    expect(sub).toBe('sub' in claims ? claims.sub : 'ada')
  })

  it('[TOKEN1] accepts only its own audience', async () => {
    const sign = (aud: unknown): string => signToken(keys.HS256, { ...base, aud })
    const against = [toVerify(keys.HS256)]
    const audience = 'https://chat.example'
    for (const aud of [undefined, audience, ['https://other.example', audience]])
      await verify(sign(aud), against, audience)
    for (const aud of ['', `${audience}/`, 'https://chat.example.evil', [], ['https://other.example']])
      await refuses(sign(aud), against, 'aud does not contain', audience)
  })
})

describe('public keys', () => {
  const { jwk: rsa } = keys.RS256
  const { jwk: ed } = keys.EdDSA
  it.each([
    ['a secret', { kty: 'oct', k: 'AAAA' }],
    ['a short modulus', { ...rsa, n: Buffer.alloc(128, 1).toString('base64url') }],
    ['a huge modulus', { ...rsa, n: Buffer.alloc(2_000, 1).toString('base64url') }],
    ['a huge exponent', { ...rsa, e: Buffer.alloc(64, 1).toString('base64url') }],
    ['another curve', { kty: 'OKP', crv: 'X25519', x: ed!['x'] }],
    ['another use', { ...ed, use: 'enc' }],
    ['other operations', { ...ed, key_ops: ['sign'] }],
    ['another algorithm', { ...rsa, alg: 'PS256' }],
    ['no coordinate', { ...ed, x: 7 }],
  ])('[TOKEN1] reads no key with %s', (_what, jwk) => {
    expect(readPublicJwk('key_a', jwk)).toBeUndefined()
  })

  it('keeps no private member', () => {
    expect(JSON.stringify(readPublicJwk('key_a', { ...ed, d: 'private', use: 'sig', alg: 'EdDSA' }))).not.toContain(
      'private',
    )
  })
})
