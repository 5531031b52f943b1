/** Tests the verification of cards: a card is verified only in its own message, with its own key. */
import { describe, expect, it } from 'vitest'
import { createTestKey, offer, payloadOf, signCard, signJws } from '../testing/sign-card.ts'
import { verifyWithoutWebCrypto } from './ed25519.ts'
import { jwsMaxChars, readBytes, verifyCard } from './verify-card.ts'

const key = createTestKey('key-1')
const other = createTestKey('key-2')
const place = { conversation: 'conversation-1', clientId: 'client-1' }

const find = (kid: string) => Promise.resolve(kid === 'key-1' ? readBytes(key.published.x) : undefined)
const verify = (jws: string, at: Partial<typeof place & { version: number }> = {}) => {
  const { version = 1, ...rest } = at
  return verifyCard({ ...place, ...rest, card: { ...offer, version, acted: null, jws } }, find)
}
const refused = (reason: string) => ({ status: 'refused', reason })

describe('verifyCard', () => {
  it('[CARD2] returns the signed payload, not the unsigned fields', async () => {
    const card = { ...signCard(key, place), title: 'Gold', fields: { Price: '1 €' }, state: 'paid', actions: [] }
    expect(await verifyCard({ ...place, card }, find)).toEqual({ status: 'verified', card: payloadOf(place) })
  })

  it('[CARD2] refuses a card that was moved or is of another version', async () => {
    const { jws } = signCard(key, place)
    expect(await verify(jws, { conversation: 'conversation-2' })).toEqual(refused('mismatch'))
    expect(await verify(jws, { clientId: 'client-2' })).toEqual(refused('mismatch'))
    expect(await verify(jws, { version: 2 })).toEqual(refused('mismatch'))
  })

  it('[CARD2] refuses unknown keys and wrong signatures', async () => {
    expect(await verify(signCard(other, place).jws)).toEqual(refused('unknown-key'))
    expect(await verify(signJws(other, payloadOf(place), { kid: 'key-1' }))).toEqual(refused('signature'))
    const [head = '', , mark = ''] = signCard(key, place).jws.split('.')
    const forged = Buffer.from(JSON.stringify({ ...payloadOf(place), title: 'Gold' })).toString('base64url')
    expect(await verify(`${head}.${forged}.${mark}`)).toEqual(refused('signature'))
    expect(await verify(`${head}.${forged}.AAAA`)).toEqual(refused('signature'))
  })

  it.each(['none', 'None', 'HS256', 'ES256', 'Ed25519', undefined, 7])(
    '[CARD2] refuses the algorithm %s',
    async (alg) => {
      expect(await verify(signJws(key, payloadOf(place), { alg }))).toEqual(refused('algorithm'))
    },
  )

  it('[CARD2] refuses an unsigned token of the algorithm none', async () => {
    const [, body = ''] = signCard(key, place).jws.split('.')
    const head = Buffer.from('{"alg":"none","kid":"key-1"}').toString('base64url')
    expect(await verify(`${head}.${body}.`)).toEqual(refused('malformed'))
    expect(await verify(`${head}.${body}.AA`)).toEqual(refused('algorithm'))
  })

  it('[CARD2] [LIM1] refuses malformed and huge signatures', async () => {
    const critical = signJws(key, payloadOf(place), { crit: ['exp'] })
    const [head = '', body = ''] = signCard(key, place).jws.split('.')
    const malformed = [
      '',
      'a.b',
      'a.b.c.d',
      '%%%.%%%.%%%',
      `${head}.${body}.$`,
      critical,
      `bnVsbA.${body}.AA`,
      signJws(key, payloadOf(place), { kid: 7 }),
      `${head}.${'A'.repeat(jwsMaxChars)}.AA`,
    ]
    for (const jws of malformed) expect(await verify(jws), jws.slice(0, 40)).toEqual(refused('malformed'))
    expect(await verifyCard({ ...place, card: { ...signCard(key, place), jws: 7 as never } }, find)).toEqual(
      refused('malformed'),
    )
  })

  it('[CARD2] refuses a signed payload that is no card', async () => {
    const payloads = [
      null,
      [],
      { ...payloadOf(place), title: 7 },
      { ...payloadOf(place), fields: { Size: 42 } },
      { ...payloadOf(place), fields: ['42'] },
      { ...payloadOf(place), actions: [{ id: 'accept' }] },
      { ...payloadOf(place), actions: [{ id: 'accept', label: 'Accept', by: 'all' }] },
    ]
    for (const payload of payloads) expect(await verify(signJws(key, payload))).toEqual(refused('malformed'))
  })

  it('[CARD2] verifies without WebCrypto as with it', async () => {
    const [head = '', body = '', mark = ''] = signCard(key, place).jws.split('.')
    const publicKey = readBytes(key.published.x)!
    const signature = readBytes(mark)!
    const signed = new TextEncoder().encode(`${head}.${body}`)
    expect(await verifyWithoutWebCrypto(publicKey, signature, signed)).toBe(true)
    expect(await verifyWithoutWebCrypto(readBytes(other.published.x)!, signature, signed)).toBe(false)
    expect(await verifyWithoutWebCrypto(publicKey, signature.slice(1), signed)).toBe(false)
    expect(await verifyWithoutWebCrypto(publicKey, signature, signed.slice(1))).toBe(false)
  })
})
