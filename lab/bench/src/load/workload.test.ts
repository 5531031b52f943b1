import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server } from 'socket.io'
import type { Socket } from 'socket.io'
import { afterEach, describe, expect, it } from 'vitest'
import type { Job, Load, Outcome } from './job.ts'
import { firstSerialOf, markText } from './marker.ts'
import { Workload } from './workload.ts'

type Deliver = (sockets: readonly Socket[], text: string, count: number) => void
type Answer = { readonly ok: boolean } | undefined

const toAll: Deliver = (sockets, text) => {
  for (const socket of sockets) socket.emit('message', { text })
}

let io: Server | undefined
afterEach(async () => {
  await io?.close()
  io = undefined
})

/** Starts a plain Socket.IO server. A test can change how it delivers and acknowledges messages. */
async function listen(deliver: Deliver, answer: (count: number) => Answer): Promise<number> {
  const httpServer = createServer()
  const server = new Server(httpServer)
  io = server
  let count = 0
  server.on('connection', (socket) => {
    void socket.join('room')
    socket.on('send', ({ text }: { text: string }, acknowledge: (body: Answer) => void) => {
      count++
      deliver([...server.sockets.sockets.values()], text, count)
      const body = answer(count)
      if (body !== undefined) acknowledge(body)
    })
    socket.emit('ready')
  })
  await new Promise<void>((resolve) => httpServer.listen(0, '127.0.0.1', resolve))
  return (httpServer.address() as AddressInfo).port
}

async function run(
  deliver: Deliver,
  answer: (count: number) => Answer = () => ({ ok: true }),
  load: Load = { kind: 'rate', perSecond: 1_000 },
): Promise<Outcome> {
  const job: Job = {
    host: '127.0.0.1',
    ports: [await listen(deliver, answer)],
    members: Array.from({ length: 5 }, () => ({ group: 0, hears: true })),
    senders: [0, 1].map((member) => ({ member, payloadHead: '{', clientIds: false })),
    load,
    textChars: 100,
    warmUpMs: 50,
    measureMs: 300,
    drainMs: 300,
    firstSerial: firstSerialOf(3),
  }
  return new Workload(job, { measuring: () => {}, measured: () => {} }).run()
}

describe('the counts of the load generator', () => {
  it('the load generator counts no losses and repeats when every message arrives once', async () => {
    const outcome = await run(toAll)
    expect(outcome.sent).toBeGreaterThan(10)
    expect(outcome).toMatchObject({ acknowledged: outcome.sent, refused: 0, lost: 0, doubled: 0, disconnected: 0 })
    expect(outcome.delivered).toBe(outcome.sent * 5)
    expect(outcome.measured.acknowledgement.count).toBeGreaterThan(5)
    expect(outcome.measured.lastDelivery.count).toBeGreaterThan(5)
  })

  it('the load generator keeps its number of unacknowledged messages constant', async () => {
    const outcome = await run(toAll, () => ({ ok: true }), { kind: 'window', window: 4 })
    expect(outcome.sent).toBeGreaterThan(8)
    expect(outcome).toMatchObject({ acknowledged: outcome.sent, lost: 0, doubled: 0 })
  })

  it('the load generator counts one lost delivery', async () => {
    const outcome = await run((sockets, text, count) => toAll(count === 7 ? sockets.slice(1) : sockets, text, count))
    expect(outcome).toMatchObject({ lost: 1, doubled: 0 })
  })

  it('the load generator counts one repeated delivery', async () => {
    const outcome = await run((sockets, text, count) =>
      toAll(count === 7 ? [...sockets, ...sockets.slice(0, 1)] : sockets, text, count),
    )
    expect(outcome).toMatchObject({ lost: 0, doubled: 1 })
  })

  it('the load generator counts a message lost at one client and repeated at another', async () => {
    const outcome = await run((sockets, text, count) =>
      toAll(count === 7 ? [...sockets.slice(1), ...sockets.slice(1, 2)] : sockets, text, count),
    )
    expect(outcome).toMatchObject({ lost: 1, doubled: 1 })
  })

  it('the load generator counts a lost message despite a repeat of another message', async () => {
    const outcome = await run((sockets, text, count) => {
      if (count === 7) toAll(sockets.slice(1), text, count)
      else if (count === 8) toAll([...sockets, ...sockets.slice(0, 1)], text, count)
      else toAll(sockets, text, count)
    })
    expect(outcome).toMatchObject({ lost: 1, doubled: 1 })
  })

  it('the load generator counts refused and unacknowledged messages', async () => {
    const outcome = await run(toAll, (count) => (count === 5 ? { ok: false } : count === 6 ? undefined : { ok: true }))
    expect(outcome).toMatchObject({ refused: 1, acknowledged: outcome.sent - 2, firstRefusal: '[{"ok":false}]' })
  })

  it('the load generator includes late deliveries in its latencies', async () => {
    const outcome = await run((sockets, text, count) => {
      setTimeout(() => toAll(sockets, text, count), 200)
    })
    expect(outcome).toMatchObject({ lost: 0, late: 0 })
    expect(outcome.measured.lastDelivery.count).toBe(outcome.measured.acknowledgement.count)
    expect(outcome.measured.lastDelivery.p50Ms).toBeGreaterThan(150)
  })

  it('the load generator stops waiting for a long backlog and counts it as late', async () => {
    let backlog = 0
    const outcome = await run((sockets, text, count) => {
      setTimeout(() => toAll(sockets, text, count), 10 * backlog++)
    })
    expect(outcome.late).toBeGreaterThan(0)
    expect(outcome).toMatchObject({ lost: 0, doubled: 0 })
    expect(outcome.drainMs).toBeLessThan(2_000)
  })

  it('the load generator ignores messages of an earlier run', async () => {
    const outcome = await run((sockets, text, count) => {
      toAll(sockets, text, count)
      if (count === 7) toAll(sockets, markText(firstSerialOf(2) + 7, 100), count)
    })
    expect(outcome).toMatchObject({ lost: 0, doubled: 0, strays: 5 })
  })

  it('the load generator counts a loss even when another connection closes', async () => {
    const outcome = await run((sockets, text, count) => {
      toAll(count === 7 ? sockets.slice(1) : sockets, text, count)
      if (count === 20) sockets.at(-1)?.disconnect(true)
    })
    expect(outcome).toMatchObject({ disconnected: 1, lost: 1 })
  })

  it('messages for a closed connection do not count as lost', async () => {
    const outcome = await run((sockets, text, count) => {
      toAll(sockets, text, count)
      if (count === 20) sockets.at(-1)?.disconnect(true)
    })
    expect(outcome.disconnected).toBe(1)
    expect(outcome.lost).toBe(0)
  })
})
