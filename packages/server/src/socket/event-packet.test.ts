import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Decoder, Encoder, PacketType } from 'socket.io-parser'
import { answerPacket, readEventPacket } from './event-packet.ts'

const encode = (packet: object): unknown[] => new Encoder().encode(packet as never)

describe('event packets', () => {
  it('are read as Socket.IO writes them, with and without an id', () => {
    fc.assert(
      fc.property(fc.string(), fc.jsonValue(), fc.option(fc.nat(), { nil: undefined }), (name, payload, id) => {
        const [text] = encode({ type: PacketType.EVENT, nsp: '/', data: [name, payload], id })
        expect(readEventPacket(text)).toStrictEqual({
          id,
          name,
          payload: JSON.parse(JSON.stringify(payload)) as unknown,
        })
      }),
    )
  })

  it('are answered as Socket.IO reads it', () => {
    const decoded: { id?: number; data?: unknown }[] = []
    const decoder = new Decoder()
    decoder.on('decoded', (packet: { id?: number }) => decoded.push(packet))
    decoder.add(answerPacket(41, { ok: true, text: 'ä"' }))
    expect(decoded).toMatchObject([{ type: PacketType.ACK, id: 41, data: [{ ok: true, text: 'ä"' }] }])
  })

  it.each([
    ['another namespace', '2/admin,["send",{}]'],
    ['attachments', '51-["send",{"_placeholder":true,"num":0}]'],
    ['broken JSON', '21["send",{'],
    ['no name', '2[]'],
    ['a name that is no text', '2[5,{}]'],
    ['no list', '2{"send":1}'],
    ['an id that is too long', `2${'9'.repeat(400)}["send",{}]`],
    ['another packet', '0{"cursor":"x"}'],
    ['nothing', ''],
    ['bytes', Buffer.from('2["send",{}]')],
  ])('leave %s to Socket.IO', (_what, data) => {
    expect(readEventPacket(data)).toBeUndefined()
  })
})
