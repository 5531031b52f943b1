/**
 * Reads and answers Socket.IO packets without Socket.IO's decoder and emitter, which need two
 * ticks, four events and a dozen objects for each packet. At first, only the head of a packet is
 * read: id, name and size. Then limits are checked, and only then is the payload parsed ({@link
 * readPayload}).
 */
import { ChorusError } from '@chorus/protocol'
import { JsonFault, parseJsonText } from '../support/json-text.ts'

/** Event packet, `2<id>["name",payload]`: nearly all traffic. */
export interface EventPacket {
  readonly kind: 'event'
  /** Id to use in the acknowledgement. Undefined when the client expects none. */
  readonly id: number | undefined
  /** Event name. Undefined if it is not a text, contains escapes or is too long. */
  readonly name: string | undefined
  /** JSON array `["name",payload]`, as received. */
  readonly json: string
}

export type Packet =
  | EventPacket
  /** Head of an event with binary attachments, which follow as separate packets. */
  | { readonly kind: 'binary-event'; readonly id: number | undefined; readonly attachments: number }
  | { readonly kind: 'attachment' }
  /** Acknowledgement from the client. It is ignored, because this server never requests one. */
  | { readonly kind: 'acknowledgement' }
  /** Packet that Socket.IO handles: CONNECT, DISCONNECT, and packets that Socket.IO refuses. */
  | { readonly kind: 'other' }

const digit0 = 0x30
const digit9 = 0x39
const event = 0x32
const acknowledgement = 0x33
const binaryEvent = 0x35
const openingBracket = 0x5b
const dash = 0x2d
/** Maximum number of digits of an acknowledgement id. No client library uses longer ids. */
const idMaxDigits = 15
/** Maximum length of an event name, far above the longest one. */
const nameMaxChars = 64
const attachmentsMaxDigits = 2

const other: Packet = { kind: 'other' }

export function readPacket(data: unknown): Packet {
  if (typeof data !== 'string') return { kind: 'attachment' }
  switch (data.charCodeAt(0)) {
    case event: {
      const at = skipDigits(data, 1, idMaxDigits)
      if (data.charCodeAt(at) !== openingBracket) return other
      return { kind: 'event', id: idOf(data, 1, at), name: nameOf(data, at), json: data.slice(at) }
    }
    case acknowledgement:
      return { kind: 'acknowledgement' }
    case binaryEvent: {
      const end = skipDigits(data, 1, attachmentsMaxDigits)
      if (end === 1 || data.charCodeAt(end) !== dash) return other
      const at = skipDigits(data, end + 1, idMaxDigits)
      if (data.charCodeAt(at) !== openingBracket) return other
      return { kind: 'binary-event', id: idOf(data, end + 1, at), attachments: Number(data.slice(1, end)) }
    }
    default:
      return other
  }
}

/**
 * Returns the payload of an event, or undefined if it has none. Throws the error `invalid` for JSON
 * that the protocol does not accept.
 */
export function readPayload(json: string): unknown {
  let parts: unknown
  try {
    parts = parseJsonText(json)
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error
    throw new ChorusError('invalid', `unable to answer; the packet ${error.message}`)
  }
  return (parts as readonly unknown[])[1]
}

/**
 * Returns the packet that acknowledges the event with this id, in the form that Engine.IO sends.
 */
export function answerPacket(id: number, body: object): string {
  return `3${id}[${JSON.stringify(body)}]`
}

function skipDigits(data: string, from: number, most: number): number {
  let at = from
  for (; at < from + most; at++) {
    const code = data.charCodeAt(at)
    if (!(code >= digit0 && code <= digit9)) break
  }
  return at
}

function idOf(data: string, from: number, to: number): number | undefined {
  return from === to ? undefined : Number(data.slice(from, to))
}

function nameOf(data: string, bracketAt: number): string | undefined {
  const opening = bracketAt + 1
  if (data[opening] !== '"') return undefined
  const closing = data.slice(opening + 1, opening + 2 + nameMaxChars).indexOf('"')
  if (closing === -1) return undefined
  const name = data.slice(opening + 1, opening + 1 + closing)
  return name.includes('\\') ? undefined : name
}
