/** A transport that records everything written to it. A test can stop its reader. */
import { Frame, type Outgoing } from '../../frames/frame.ts'
import type { Transport } from '../outbound.ts'

/**
 * Payload of an event, typed with the fields of all events. A test reads only the fields that its
 * event has.
 */
export interface RecordedPayload {
  readonly conversation: string
  readonly changes: readonly {
    readonly seq: number
    readonly type: string
    readonly user?: string
    readonly message?: { readonly version: number; readonly text: string }
  }[]
  readonly seq: number
  readonly readSeq: number
  readonly unread: number
  readonly limited?: boolean
  readonly left?: boolean
  readonly messages?: readonly { readonly seq: number; readonly text: string }[]
  readonly cursor: string
  readonly resumed: boolean
  readonly code: string
}

export interface Recorded {
  readonly event: string
  readonly payload: RecordedPayload
}

export class RecordingTransport implements Transport {
  readonly kind = 'websocket'
  readonly frames: Frame[] = []
  /** Packets of acknowledgements, in order. */
  readonly answers: string[] = []
  /** Manner in which the transport was closed. */
  closed: 'again' | 'final' | 'hard' | undefined
  isReading = true
  #buffered = 0
  #taken = 0
  #listener: () => void = () => undefined

  write(item: Outgoing): void {
    if (item instanceof Frame) this.frames.push(item)
    else this.answers.push(item.packet)
    if (this.isReading) this.#taken += item.bytes
    else this.#buffered += item.bytes
  }

  bufferedBytes(): number {
    return this.#buffered
  }

  progress(): number {
    return this.#taken
  }

  onDrain(listener: () => void): void {
    this.#listener = listener
  }

  close(manner: 'again' | 'final' | 'hard'): void {
    this.closed ??= manner
  }

  /** Lets the simulated client read this many bytes, or everything. */
  read(bytes: number = this.#buffered): void {
    const taken = Math.min(bytes, this.#buffered)
    this.#buffered -= taken
    this.#taken += taken
    if (taken > 0) this.#listener()
  }

  get events(): Recorded[] {
    return this.frames.map(({ event, json }) => ({ event, payload: JSON.parse(json) as RecordedPayload }))
  }

  eventsNamed(name: string): RecordedPayload[] {
    return this.events.filter(({ event }) => event === name).map(({ payload }) => payload)
  }

  /** Returns the seqs of a conversation's changes in order of arrival. */
  seqsOf(conversation: string): number[] {
    return this.eventsNamed('changes')
      .filter((payload) => payload.conversation === conversation)
      .flatMap((payload) => payload.changes.map(({ seq }) => seq))
  }
}
