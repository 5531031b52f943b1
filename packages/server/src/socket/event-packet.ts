/**
 * Socket.IO's packets, read and answered without its decoder and emitter, which take a packet through two ticks, four
 * events and a dozen objects. Only the head of a packet is read here: id, name, size. Limits are taken with that; the
 * payload is parsed behind them ({@link readPayload}).
 */
import { ChorusError } from '@chorus/protocol'
import { JsonFault, parseJsonText } from '../support/json-text.ts'

/** `2<id>["name",payload]`: nearly all traffic. */
export interface EventPacket {
  readonly kind: 'event'
  /** Named by the acknowledgement; undefined when none is expected. */
  readonly id: number | undefined
  /** Undefined: no text, or no name of ours. */
  readonly name: string | undefined
  /** The array `["name",payload]` as it came. */
  readonly json: string
}

export type Packet =
  | EventPacket
  /** The head of an event with attachments, which follow as binary packets. */
  | { readonly kind: 'binary-event'; readonly id: number | undefined; readonly attachments: number }
  | { readonly kind: 'attachment' }
  /** Acknowledges an event of this server, which asks for no acknowledgement. */
  | { readonly kind: 'acknowledgement' }
  /** Left to Socket.IO: CONNECT, DISCONNECT, and what it refuses. */
  | { readonly kind: 'other' }

const digit0 = 0x30
const digit9 = 0x39
const event = 0x32
const acknowledgement = 0x33
const binaryEvent = 0x35
const openingBracket = 0x5b
const dash = 0x2d
/** Longer ids are no ids of any client library. */
const idMaxDigits = 15
/** The longest name of an event is far shorter. */
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

/** The payload of an event; undefined when it has none. Throws `invalid` for what is no event, or no JSON of the protocol. */
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

/** The packet that answers event `id`, as Engine.IO carries it. */
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
