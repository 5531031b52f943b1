/**
 * Frame: one event that is sent to clients. It is encoded as JSON once, and on first use once for
 * each transport, however many connections receive it. Transports store their encoding in `wire`.
 */
import type { EventName, EventPayload, Id } from '@chorus/protocol'
import type { LoggedChange } from '../support/logged-change.ts'

export class Frame {
  readonly event: EventName
  /** The payload as JSON. */
  readonly json: string
  /** Approximate size of the encoded event, for memory limits. */
  readonly bytes: number
  /** Cursor in a `ready` or `checkpoint` event. Server-Sent Events send it in the field `id`. */
  readonly cursor: string | undefined
  /**
   * Number of outbound queues that hold this frame. A shared frame counts once in the server's
   * limit (rule SLOW1).
   */
  holders = 0
  readonly wire: { websocket?: Buffer; packet?: string; sse?: string } = {}

  constructor(event: EventName, json: string, cursor?: string) {
    this.event = event
    this.json = json
    this.bytes = Buffer.byteLength(json) + 32
    this.cursor = cursor
  }
}

export function frameOf<Name extends EventName>(event: Name, payload: EventPayload<Name>): Frame {
  return new Frame(event, JSON.stringify(payload), cursorOf(payload))
}

function cursorOf(payload: unknown): string | undefined {
  if (typeof payload !== 'object' || payload === null || !('cursor' in payload)) return undefined
  return typeof payload.cursor === 'string' ? payload.cursor : undefined
}

/**
 * Builds one `changes` event from changes that are already encoded. Encodes and parses nothing
 * again.
 */
export function changesFrame(conversation: Id, changes: readonly LoggedChange[]): Frame {
  let json = `{"conversation":"${conversation}","changes":[`
  for (let index = 0; index < changes.length; index++) {
    if (index > 0) json += ','
    json += (changes[index] as LoggedChange).json
  }
  return new Frame('changes', `${json}]}`)
}

/**
 * Acknowledgement of one command. It is sent to one connection, through the same outbound queue and
 * limits as frames.
 */
export class Answer {
  /** Engine.IO packet, without its first character, which marks a message. */
  readonly packet: string
  readonly bytes: number
  holders = 0

  constructor(packet: string) {
    this.packet = packet
    this.bytes = Buffer.byteLength(packet) + 32
  }
}

/**
 * Frame or acknowledgement that is sent to a connection. Each counts against the limits of its
 * outbound queue (rule SLOW1).
 */
export type Outgoing = Frame | Answer
