/** Tests that tokens have what the server checks, and that unusable values are refused with a reason. */
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { decodeProtectedHeader, jwtVerify } from 'jose'
import { expect, it } from 'vitest'
import { signUserToken } from './sign-user-token.ts'

const keyId = 'key_0123456789abcdef'
const signingSecret = 'c2lnbmluZyBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw'
const now = new Date('2026-11-27T12:00:00.500Z')
const sign = (more: object = {}) => signUserToken({ keyId, signingSecret, userId: 'user-1', now, ...more })

it('signs the claims with the key id as kid', async () => {
  const token = await sign({
    name: 'Ada',
    avatar: 'https://example.org/a.png',
    handle: 'ada',
    audience: 'https://chat',
  })
  expect(decodeProtectedHeader(token)).toEqual({ alg: 'HS256', kid: keyId, typ: 'JWT' })
  const { payload } = await jwtVerify(token, new TextEncoder().encode(signingSecret), { currentDate: now })
  const iat = Math.floor(now.getTime() / 1_000)
  expect(payload).toEqual({
    sub: 'user-1',
    name: 'Ada',
    avatar: 'https://example.org/a.png',
    handle: 'ada',
    aud: 'https://chat',
    iat,
    exp: iat + 3_600,
  })
})

it('uses the bytes of the secret as text, as openssl does', async () => {
  const token = await sign()
  const [header, payload, signature] = token.split('.')
  expect(createHmac('sha256', signingSecret).update(`${header}.${payload}`).digest('base64url')).toBe(signature)
})

it.each(['object', 'pem'])('signs with EdDSA when given an Ed25519 key as %s', async (form) => {
  const pair = generateKeyPairSync('ed25519')
  const privateKey =
    form === 'object' ? pair.privateKey : pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
  const token = await signUserToken({ keyId: 'shop-2026', privateKey, userId: 'user-1', now })
  expect(decodeProtectedHeader(token)).toEqual({ alg: 'EdDSA', kid: 'shop-2026', typ: 'JWT' })
  const { payload } = await jwtVerify(token, pair.publicKey, { currentDate: now, algorithms: ['EdDSA'] })
  expect(payload.sub).toBe('user-1')
})

it.each([
  ['an RSA key', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
  ['a public key', generateKeyPairSync('ed25519').publicKey],
  ['a text that is no key', 'sk_secret'],
])('refuses %s as private key and does not show it', async (_, privateKey) => {
  await expect(sign({ privateKey })).rejects.toThrow(
    /^unable to sign user token; privateKey must be an Ed25519 private key$/,
  )
})

it('leaves out claims that are not given', async () => {
  const [, payload = ''] = (await sign({ lifetimeS: 86_400 })).split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>
  expect(Object.keys(claims).sort()).toEqual(['exp', 'iat', 'sub'])
})

it.each([
  [{ lifetimeS: 86_401 }, 'lifetimeS must be a whole number of seconds from 1 to 86400 (24 hours)'],
  [{ lifetimeS: 0 }, 'lifetimeS must be'],
  [{ lifetimeS: 1.5 }, 'lifetimeS must be'],
  [{ lifetimeS: Number.NaN }, 'lifetimeS must be'],
  [{ userId: '' }, 'userId must have 1 to 128 characters'],
  [{ userId: 'x'.repeat(129) }, 'userId must have 1 to 128 characters'],
  [{ userId: 7 as unknown as string }, 'userId must be a string'],
  [{ userId: 'a\ud800' }, 'userId must not contain control characters'],
  [{ keyId: 'sk_something' }, 'keyId must be the id of an API key'],
  [{ signingSecret: '' }, 'signingSecret must be the signing secret'],
  [{ signingSecret: `sk_${'x'.repeat(40)}` }, 'signingSecret must be the signing secret of the key, not its secret'],
  [{ name: '\u200b' }, 'name: shows nothing'],
  [{ handle: 'no blanks' }, 'handle: is not made of letters'],
  [{ avatar: 'http://example.org/a.png' }, 'avatar: is not an https address'],
  [{ now: new Date(Number.NaN) }, 'now must be a valid date'],
])('refuses %j', async (options, reason) => {
  await expect(sign(options)).rejects.toThrow(`unable to sign user token; ${reason}`)
})
