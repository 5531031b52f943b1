/**
 * Socket.IO's decoder, restricted to the two packets that Socket.IO still reads in Chorus: CONNECT
 * and DISCONNECT. Events are read by event-packet.ts, and the protocol has no binary packets. Any
 * other packet closes the connection before it is parsed. Too many packets close it, too: each
 * CONNECT is answered, and these responses count against no limit.
 */
import { Decoder } from 'socket.io-parser'

export const decoderLimits = {
  /** Maximum number of packets. A client needs one CONNECT and one DISCONNECT. */
  packetsMax: 16,
  /**
   * Maximum length of a packet. CONNECT carries a cursor of at most 1 024 characters and a user token
   * of at most 8 192.
   */
  packetMaxChars: 16_384,
} as const

const connect = '0'
const disconnect = '1'

export class StrictDecoder extends Decoder {
  #packets = 0

  /**
   * Accepts CONNECT and DISCONNECT. Throws for any other packet; Socket.IO then closes the
   * connection.
   */
  override add(data: unknown): void {
    if (typeof data !== 'string') throw new Error('unable to read the packet; it is binary')
    const type = data[0]
    if (type !== connect && type !== disconnect) throw new Error('unable to read the packet; its type is not expected')
    if (data.length > decoderLimits.packetMaxChars) throw new Error('unable to read the packet; it is too long')
    if (++this.#packets > decoderLimits.packetsMax) throw new Error('unable to read the packet; there are too many')
    super.add(data)
  }
}
