/**
 * Tests that writes combined into one buffer arrive complete and in order. Another WebSocket
 * implementation reads them.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type RawData, WebSocket, WebSocketServer } from 'ws'
import { CoalescedWrites } from './coalesce-writes.ts'
import { toTextFrame } from './websocket-frame.ts'

const open: { close(): void }[] = []
afterEach(() => {
  for (const each of open.splice(0)) each.close()
})

interface Pair {
  readonly wire: Socket
  readonly heard: string[]
  heardAll(count: number): Promise<void>
}

async function connect(): Promise<Pair> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  open.push(server)
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as { port: number }).port}`)
  open.push({ close: () => client.terminate() })
  const heard: string[] = []
  client.on('message', (data: RawData) => heard.push((data as Buffer).toString('utf8')))
  const [served] = (await accepted) as [WebSocket]
  await once(client, 'open')
  return {
    wire: (served as unknown as { _socket: Socket })._socket,
    heard,
    heardAll: async (count) => {
      while (heard.length < count) await once(client, 'message')
    },
  }
}

describe('combined writes to a WebSocket', () => {
  it('delivers combined WebSocket texts in order, whatever their length', async () => {
    const { wire, heard, heardAll } = await connect()
    const writes = new CoalescedWrites(wire, () => undefined)
    const texts = [
      'a',
      'ä'.repeat(62),
      'x'.repeat(125),
      'x'.repeat(126),
      'ü'.repeat(40_000),
      '😀',
      'x'.repeat(70_000),
      '',
    ]
    for (const text of texts) writes.add(text)
    writes.add(toTextFrame('shared'))
    await heardAll(texts.length + 1)
    expect(heard).toStrictEqual([...texts, 'shared'])
  })

  it('writes to the WebSocket once per turn of the event loop', async () => {
    const { wire, heardAll } = await connect()
    const writes = new CoalescedWrites(wire, () => undefined)
    let written = 0
    const write = wire.write.bind(wire)
    wire.write = (bytes: Buffer) => {
      written++
      return write(bytes)
    }
    for (let index = 0; index < 50; index++) writes.add(`message ${index}`)
    expect(writes.bytes).toBeGreaterThan(0)
    await heardAll(50)
    expect(written).toBe(1)
    expect(writes.bytes).toBe(0)
  })

  it('[SLOW1] reports after each combined write that the socket accepts more data', async () => {
    const { wire, heardAll } = await connect()
    let room = 0
    let told: () => void = () => undefined
    const writes = new CoalescedWrites(wire, () => {
      room++
      told()
    })
    for (const chars of [10, 40_000, 70_000, 300_000]) {
      const before = room
      const isTold = new Promise<void>((resolve) => {
        told = resolve
      })
      writes.add('x'.repeat(chars / 2))
      writes.add('x'.repeat(chars / 2))
      await isTold
      expect(room).toBeGreaterThan(before)
    }
    await heardAll(8)
  })

  it('[SLOW1] `release` writes queued texts at once, without reporting room for more', async () => {
    const { wire, heardAll } = await connect()
    let room = 0
    const writes = new CoalescedWrites(wire, () => {
      room++
    })
    writes.add('first')
    writes.release()
    expect(room).toBe(0)
    await heardAll(1)
  })

  it('drops queued WebSocket texts when the socket has closed', async () => {
    const { wire } = await connect()
    const writes = new CoalescedWrites(wire, () => undefined)
    writes.add('late')
    wire.destroy()
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
    expect(writes.bytes).toBe(0)
  })
})
