/**
 * Reads WebSocket frames that a server sent, from a byte stream that may be split anywhere. To use
 * little processor time, it parses only frame headers, passes small frames to the listener whole,
 * and reads only the marker and the number of each message. It never collects a large frame; at
 * most one incomplete small frame (2 kB) is kept.
 *
 * It understands only the frames that the libraries ws and Engine.IO send: unmasked, unfragmented
 * text. Any other frame throws an error, because a misread stream would make the counts worthless.
 */
import { marker, markedChars, readSerial } from './marker.ts'

/** Maximum size of a frame that is passed to the listener whole. */
const wholeMaxBytes = 2_048

export interface FrameListener {
  /**
   * Called with a small frame, before `message` is called for the messages in it. The frame's
   * payload is `bytes[from, to)`.
   */
  packet(bytes: Buffer, from: number, to: number): void
  /** Called with the number of each message. */
  message(serial: number): void
  /** Called when the server sends a close frame. */
  closing(): void
}

export class FrameWalker {
  readonly #listener: FrameListener
  #carried: Buffer | undefined
  /** Number of payload bytes of a large frame that have not arrived yet. */
  #remaining = 0

  constructor(listener: FrameListener) {
    this.#listener = listener
  }

  /** Reads the next bytes. The caller may reuse `chunk` afterwards. */
  walk(chunk: Buffer): void {
    const bytes = this.#carried === undefined ? chunk : Buffer.concat([this.#carried, chunk])
    this.#carried = undefined
    const end = bytes.length
    let at = 0
    while (at < end) {
      if (this.#remaining > 0) {
        const frameEnd = at + this.#remaining
        const reached = this.#scan(bytes, at, Math.min(end, frameEnd), frameEnd > end)
        this.#remaining = frameEnd - reached
        at = reached
        if (at < end && this.#remaining > 0) break
        continue
      }
      const available = end - at
      if (available < 2) break
      const first = bytes[at] as number
      const short = bytes[at + 1] as number
      const headerBytes = short < 126 ? 2 : short === 126 ? 4 : 10
      if (available < headerBytes) break
      const payloadBytes =
        short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
      if (first === 0x88) {
        this.#listener.closing()
        return
      }
      if (first !== 0x81 || short > 127)
        throw new Error(`unable to read a frame; it begins with ${first.toString(16)} ${short.toString(16)}`)
      if (payloadBytes > wholeMaxBytes) {
        this.#remaining = payloadBytes
        at += headerBytes
        continue
      }
      if (available < headerBytes + payloadBytes) break
      const from = at + headerBytes
      at = from + payloadBytes
      this.#listener.packet(bytes, from, at)
      this.#scan(bytes, from, at, false)
    }
    // Copy the remaining bytes, because the caller reuses its buffer.
    if (at < end) this.#carried = Buffer.from(bytes.subarray(at, end))
  }

  /**
   * Reports the messages in `bytes[from, to)`. Returns the position where reading stopped. It is
   * before `to` when a marker and its number are incomplete.
   */
  #scan(bytes: Buffer, from: number, to: number, isCut: boolean): number {
    let at = from
    for (;;) {
      at = bytes.indexOf(marker, at)
      if (at === -1 || at >= to) return to
      if (at + markedChars > to) {
        if (isCut) return at
        throw new Error('unable to count messages; a frame ends inside a number')
      }
      this.#listener.message(readSerial(bytes, at))
      at += markedChars
    }
  }
}
