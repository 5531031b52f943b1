import { describe, expect, it } from 'vitest'
import { decoderLimits, StrictDecoder } from './strict-decoder.ts'

describe('the strict Socket.IO decoder', () => {
  it('the strict decoder reads a CONNECT packet with a cursor and a DISCONNECT packet', () => {
    const decoder = new StrictDecoder()
    const packets: unknown[] = []
    decoder.on('decoded', (packet) => packets.push(packet))
    decoder.add('0{"cursor":"x"}')
    decoder.add('1')
    expect(packets).toMatchObject([{ type: 0, data: { cursor: 'x' } }, { type: 1 }])
  })

  it.each(['2["send",{}]', '31[{}]', '4{"message":"x"}', '51-["x",{"_placeholder":true,"num":0}]', '9', ''])(
    '[LIM1] the strict decoder refuses the packet %j',
    (packet) => {
      expect(() => new StrictDecoder().add(packet)).toThrow('is not expected')
    },
  )

  it('[LIM1] the strict decoder refuses binary data, long packets and too many packets', () => {
    expect(() => new StrictDecoder().add(Buffer.from('0'))).toThrow('binary')
    expect(() => new StrictDecoder().add(`0{"cursor":"${'x'.repeat(decoderLimits.packetMaxChars)}`)).toThrow('too long')
    const decoder = new StrictDecoder()
    for (let count = 0; count < decoderLimits.packetsMax; count++) decoder.add(`0/n${count},`)
    expect(() => decoder.add('0/one more,')).toThrow('too many')
  })
})
