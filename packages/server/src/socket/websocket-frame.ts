/**
 * Builds WebSocket text frames as a server sends them (RFC 6455, section 5.2): one buffer,
 * unmasked, uncompressed, never fragmented.
 */
const isFinalText = 0x81
const length16 = 126
const length64 = 127

/** Returns the size of a frame, given the size of its payload. */
export function frameBytes(payloadBytes: number): number {
  return payloadBytes + headerBytes(payloadBytes)
}

/**
 * Writes the frame of a text into `target` at `at`, and returns the offset after the frame. The
 * caller provides enough room.
 */
export function writeTextFrame(target: Buffer, at: number, text: string, payloadBytes: number): number {
  target[at] = isFinalText
  if (payloadBytes < length16) {
    target[at + 1] = payloadBytes
  } else if (payloadBytes < 65_536) {
    target[at + 1] = length16
    target.writeUInt16BE(payloadBytes, at + 2)
  } else {
    target[at + 1] = length64
    target.writeUInt32BE(0, at + 2)
    target.writeUInt32BE(payloadBytes, at + 6)
  }
  const payloadAt = at + headerBytes(payloadBytes)
  // Nearly all texts are ASCII. In that case, Latin-1 gives the same bytes and is written much
  // faster than UTF-8.
  target.write(text, payloadAt, payloadBytes === text.length ? 'latin1' : 'utf8')
  return payloadAt + payloadBytes
}

export function toTextFrame(text: string): Buffer {
  const payloadBytes = Buffer.byteLength(text)
  const frame = Buffer.allocUnsafe(frameBytes(payloadBytes))
  writeTextFrame(frame, 0, text, payloadBytes)
  return frame
}

function headerBytes(payloadBytes: number): number {
  return payloadBytes < length16 ? 2 : payloadBytes < 65_536 ? 4 : 10
}
