import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Decoder, Encoder, PacketType } from 'socket.io-parser'
import { ChorusError } from '@chorus/protocol'
import { answerPacket, readPacket, readPayload } from './event-packet.ts'

const encode = (packet: object): unknown[] => new Encoder().encode(packet as never)

describe('Socket.IO event packets', () => {
  it('reads the Socket.IO events that a client writes, with and without an id', () => {
    const name = fc.stringMatching(/^[\w .-]{1,64}$/)
    fc.assert(
      fc.property(name, fc.jsonValue(), fc.option(fc.nat(), { nil: undefined }), (event, payload, id) => {
        const [text] = encode({ type: PacketType.EVENT, nsp: '/', data: [event, payload], id })
        const packet = readPacket(text)
        expect(packet).toMatchObject({ kind: 'event', id, name: event })
        if (packet.kind !== 'event') return
        const kept = JSON.parse(JSON.stringify(payload)) as unknown
        try {
          expect(readPayload(packet.json)).toStrictEqual(kept)
        } catch (error) {
          // The payload has a forbidden key, or a number that a JavaScript number cannot represent
          // exactly.
          expect(error).toBeInstanceOf(ChorusError)
        }
      }),
    )
  })

  it('writes acknowledgements that a Socket.IO client can read', () => {
    const decoded: { id?: number; data?: unknown }[] = []
    const decoder = new Decoder()
    decoder.on('decoded', (packet: { id?: number }) => decoded.push(packet))
    decoder.add(answerPacket(41, { ok: true, text: 'ä"' }))
    expect(decoded).toMatchObject([{ type: PacketType.ACK, id: 41, data: [{ ok: true, text: 'ä"' }] }])
  })

  it.each([
    ['another namespace', '2/admin,["send",{}]'],
    ['no list', '2{"send":1}'],
    ['an id that is too long', `2${'9'.repeat(400)}["send",{}]`],
    ['another packet', '0{"cursor":"x"}'],
    ['nothing', ''],
    ['attachments without a number', '5-["x"]'],
    ['attachments without an end', '51'],
    ['attachments by the thousand', '51000-["x"]'],
  ])('does not read a packet with %s, so Socket.IO handles it', (_what, data) => {
    expect(readPacket(data)).toEqual({ kind: 'other' })
  })

  it.each([
    ['no name', '2[]'],
    ['a name that is no text', '2[5,{}]'],
    ['a name with escapes', '2["s\\u0065nd",{}]'],
    ['a name without an end', '2["send'],
    ['a name of ten thousand characters', `2["${'x'.repeat(10_000)}",{}]`],
  ])('[LIM1] reads a Socket.IO event with %s as an event without a name', (_what, data) => {
    expect(readPacket(data)).toMatchObject({ kind: 'event', name: undefined })
  })

  it('recognizes Socket.IO packets with binary attachments before parsing', () => {
    expect(readPacket('51-7["send",{"_placeholder":true,"num":0}]')).toEqual({
      kind: 'binary-event',
      id: 7,
      attachments: 1,
    })
    expect(readPacket(Buffer.from('2["send",{}]'))).toEqual({ kind: 'attachment' })
    expect(readPacket('31[{}]')).toEqual({ kind: 'acknowledgement' })
  })

  it.each(['["send",{', '["send",{"a":1,"a":2}]', '["send",{"__proto__":1}]', `["send",${'['.repeat(50)}`])(
    '[BAD1] refuses a Socket.IO event with the payload %s',
    (json) => {
      expect(() => readPayload(json)).toThrow(/^unable to answer; the packet /)
    },
  )
})
