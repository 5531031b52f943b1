/**
 * Socket.IO's decoder for the two packets that it still reads here: CONNECT and DISCONNECT. Events are read by
 * event-packet.ts, and nothing of the protocol is binary. Whatever else comes ends the connection before it is parsed, and
 * so does a wire that goes on asking: each CONNECT is answered, and those responses are in no budget.
 */
import { Decoder } from 'socket.io-parser'

export const decoderBounds = {
  /** A client needs one CONNECT and one DISCONNECT. */
  packetsMax: 16,
  /** CONNECT carries a cursor; a cursor has at most 1 024 characters. */
  packetMaxChars: 8_192,
} as const

const connect = '0'
const disconnect = '1'

export class StrictDecoder extends Decoder {
  #packets = 0

  /** Throws for everything else; Socket.IO then closes the connection. */
  override add(data: unknown): void {
    if (typeof data !== 'string') throw new Error('unable to read the packet; it is binary')
    const type = data[0]
    if (type !== connect && type !== disconnect) throw new Error('unable to read the packet; its type is not expected')
    if (data.length > decoderBounds.packetMaxChars) throw new Error('unable to read the packet; it is too long')
    if (++this.#packets > decoderBounds.packetsMax) throw new Error('unable to read the packet; there are too many')
    super.add(data)
  }
}
