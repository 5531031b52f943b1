/**
 * Verifies the signature of a card.
 *
 * Guarantee: a card is verified only if a published key of the server signed it with EdDSA for this
 * message, conversation and version (rule CARD2). The result contains the signed payload, never the
 * unsigned fields. The issuer is not compared: the keys come from the server that delivered the
 * card.
 */
import type { CardPayload, Message } from '@chorus/protocol'
import type { CardRefusal } from '../model/api-cards.ts'
import { isObject, isText } from '../wire/server-events.ts'
import { verifyEd25519 } from './ed25519.ts'

/** Maximum length of a signed card. Longer ones are refused before they are decoded. */
export const jwsMaxChars = 65_536

export type Verification =
  | { readonly status: 'verified'; readonly card: CardPayload }
  | { readonly status: 'refused'; readonly reason: CardRefusal }

/** Returns the public key with this id, or undefined if the server does not publish it. */
type FindKey = (kid: string) => Promise<Uint8Array<ArrayBuffer> | undefined>

/** Verifies the card of a message. Rejects only if `find` rejects. */
export async function verifyCard(
  { conversation, clientId, card }: Pick<Message, 'conversation' | 'clientId' | 'card'>,
  find: FindKey,
): Promise<Verification> {
  const parts = splitJws(card?.jws)
  if (parts === undefined) return refused('malformed')
  const [head, body, mark] = parts
  const header = readJson(head)
  // `crit` and `b64` change the meaning of a signature, and cards never have them.
  if (!isObject(header) || 'crit' in header || 'b64' in header) return refused('malformed')
  if (header['alg'] !== 'EdDSA') return refused('algorithm')
  const signature = readBytes(mark)
  if (!isText(header['kid']) || signature === undefined) return refused('malformed')
  const key = await find(header['kid'])
  if (key === undefined) return refused('unknown-key')
  const signed = new TextEncoder().encode(`${head}.${body}`)
  if (!(await verifyEd25519(key, signature, signed))) return refused('signature')
  const payload = readJson(body)
  if (!isPayload(payload)) return refused('malformed')
  const isSame = payload.conversation === conversation && payload.card === clientId && payload.version === card?.version
  return isSame ? { status: 'verified', card: payload } : refused('mismatch')
}

function refused(reason: CardRefusal): Verification {
  return { status: 'refused', reason }
}

function splitJws(jws: unknown): readonly [string, string, string] | undefined {
  if (!isText(jws) || jws.length > jwsMaxChars) return undefined
  const [head = '', body = '', mark = '', ...rest] = jws.split('.')
  return head === '' || body === '' || mark === '' || rest.length > 0 ? undefined : [head, body, mark]
}

/** Decodes base64url without padding. Returns undefined for other text. */
export function readBytes(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[\w-]+$/.test(text)) return undefined
  try {
    return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0))
  } catch {
    return undefined
  }
}

function readJson(text: string): unknown {
  const bytes = readBytes(text)
  if (bytes === undefined) return undefined
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return undefined
  }
}

function isPayload(value: unknown): value is CardPayload {
  return (
    isObject(value) &&
    ['iss', 'conversation', 'card', 'type', 'title', 'state'].every((name) => isText(value[name])) &&
    Number.isSafeInteger(value['version']) &&
    isObject(value['fields']) &&
    Object.values(value['fields']).every(isText) &&
    Array.isArray(value['actions']) &&
    value['actions'].every(isAction)
  )
}

function isAction(value: unknown): boolean {
  if (!isObject(value) || !isText(value['id']) || !isText(value['label'])) return false
  return value['by'] === undefined || (Array.isArray(value['by']) && value['by'].every(isText))
}
