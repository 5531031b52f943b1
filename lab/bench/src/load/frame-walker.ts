/**
 * Reads WebSocket frames from a server out of a byte stream that may be cut anywhere, at the least cost: it looks at
 * headers, hands small packets over whole, and of messages reads only marker and number. Large frames are never gathered;
 * at most one small frame (2 kB) waits for its rest.
 *
 * Only what ws and Engine.IO send is understood: unmasked, unfragmented text. Anything else throws, because a stream that
 * is misread counts nothing.
 */
import { marker, markedChars, readSerial } from './marker.ts'

/** Frames up to this size are handed over whole. */
const wholeMaxBytes = 2_048

export interface FrameListener {
  /** A whole packet that is small: its payload is `bytes[from, to)`. Called before its messages. */
  packet(bytes: Buffer, from: number, to: number): void
  /** A message was seen. */
  message(serial: number): void
  /** The server says that it closes. */
  closing(): void
}

export class FrameWalker {
  readonly #listener: FrameListener
  #carried: Buffer | undefined
  /** Payload bytes of a large frame that are still to come. */
  #remaining = 0

  constructor(listener: FrameListener) {
    this.#listener = listener
  }

  /** Takes the next bytes. `chunk` may be used again by the caller afterwards. */
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
    // A copy: the caller reuses its buffer.
    if (at < end) this.#carried = Buffer.from(bytes.subarray(at, end))
  }

  /** Counts the messages in `bytes[from, to)`; returns where it stopped, before `to` when a marker is cut. */
  #scan(bytes: Buffer, from: number, to: number, isCut: boolean): number {
    let at = from
    for (;;) {
      at = bytes.indexOf(marker, at)
      if (at === -1 || at >= to) return to
      if (at + markedChars > to) {
        if (isCut) return at
        throw new Error('unable to count messages; a frame ends within a number')
      }
      this.#listener.message(readSerial(bytes, at))
      at += markedChars
    }
  }
}
