/** Signs cards as the server does, with keys made for a test. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { Card, CardKey, CardPayload, Message } from '@chorus/protocol'

interface TestKey {
  readonly privateKey: KeyObject
  readonly published: CardKey
}

export function createTestKey(kid: string): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const { x = '' } = publicKey.export({ format: 'jwk' })
  const period = { validFrom: '2026-01-01T00:00:00.000Z', validUntil: null }
  return { privateKey, published: { kty: 'OKP', crv: 'Ed25519', x, kid, alg: 'EdDSA', use: 'sig', ...period } }
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Returns a compact JWS. `header` replaces fields of the header. */
export function signJws(key: TestKey, payload: unknown, header: object = {}): string {
  const signed = `${encode({ alg: 'EdDSA', kid: key.published.kid, ...header })}.${encode(payload)}`
  return `${signed}.${sign(null, Buffer.from(signed), key.privateKey).toString('base64url')}`
}

export const offer = {
  version: 1,
  type: 'offer',
  title: 'Blue shoes',
  fields: { Size: '42', Price: '30 €' },
  actions: [
    { id: 'accept', label: 'Accept' },
    { id: 'decline', label: 'Decline' },
  ],
  state: 'open',
}

type Unsigned = Omit<Card, 'acted' | 'jws'>

/** Returns the payload of a card of a message. */
export function payloadOf(
  { conversation, clientId }: Pick<Message, 'conversation' | 'clientId'>,
  card: Unsigned = offer,
): CardPayload {
  return { iss: 'http://chat.test', conversation, card: clientId, ...card, iat: 1_767_225_600 }
}

/** Returns a card that the key signed for a message. */
export function signCard(
  key: TestKey,
  message: Pick<Message, 'conversation' | 'clientId'>,
  card: Unsigned = offer,
): Card {
  return { ...card, acted: null, jws: signJws(key, payloadOf(message, card)) }
}
