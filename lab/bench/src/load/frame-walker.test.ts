import { describe, expect, it } from 'vitest'
import { FrameWalker } from './frame-walker.ts'
import { markText } from './marker.ts'

function frame(payload: string): Buffer {
  const body = Buffer.from(payload)
  if (body.length < 126) return Buffer.concat([Buffer.from([0x81, body.length]), body])
  if (body.length < 65_536) {
    const head = Buffer.from([0x81, 126, 0, 0])
    head.writeUInt16BE(body.length, 2)
    return Buffer.concat([head, body])
  }
  const head = Buffer.alloc(10)
  head[0] = 0x81
  head[1] = 127
  head.writeBigUInt64BE(BigInt(body.length), 2)
  return Buffer.concat([head, body])
}

function batch(from: number, count: number): string {
  const changes = Array.from({ length: count }, (_, index) => ({
    seq: from + index,
    text: markText(from + index, 100),
  }))
  return `42["changes",${JSON.stringify({ conversation: 'c', changes })}]`
}

function walk(stream: Buffer, cutEvery: number) {
  const serials: number[] = []
  const packets: string[] = []
  const walker = new FrameWalker({
    packet: (bytes, from, to) => packets.push(bytes.toString('latin1', from, to)),
    message: (serial) => serials.push(serial),
    closing: () => packets.push('closing'),
  })
  // Use one buffer for all chunks, as the load generator does. So the frame walker must copy the
  // bytes that it still needs.
  const shared = Buffer.alloc(cutEvery)
  for (let at = 0; at < stream.length; at += cutEvery) {
    const length = stream.copy(shared, 0, at, Math.min(stream.length, at + cutEvery))
    walker.walk(shared.subarray(0, length))
  }
  return { serials, packets }
}

describe('the frame walker', () => {
  const stream = Buffer.concat([
    frame('2'),
    frame('430[{"ok":true,"seq":1}]'),
    frame(batch(1, 1)),
    frame(batch(2, 3)),
    frame(batch(5, 400)),
    frame('42["checkpoint",{"cursor":"abc"}]'),
    frame(batch(405, 1_200)),
    frame('2'),
    Buffer.from([0x88, 0]),
  ])
  const every = Array.from({ length: 1_604 }, (_, index) => index + 1)

  for (const cutEvery of [1, 2, 3, 7, 13, 100, 1_021, 65_536, 10_000_000]) {
    it(`the frame walker counts every message once in chunks of ${cutEvery} bytes`, () => {
      const { serials, packets } = walk(stream, cutEvery)
      expect(serials).toEqual(every)
      expect(packets.filter((packet) => packet === '2')).toHaveLength(2)
      expect(packets).toContain('430[{"ok":true,"seq":1}]')
      expect(packets.at(-1)).toBe('closing')
    })
  }

  it('the frame walker rejects a message marker without a number', () => {
    expect(() => walk(frame('42["x","~abcdefghijk"]'), 1_000)).toThrow(/not followed by a number/)
  })

  it('the frame walker rejects fragmented frames', () => {
    expect(() => walk(Buffer.from([0x01, 3, 0x61, 0x62, 0x63]), 100)).toThrow(/begins with 1 3/)
  })
})
