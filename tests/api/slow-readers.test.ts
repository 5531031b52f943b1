/**
 * Clients that connect and never read. The server closes each of them as slow, its memory stays
 * bounded, and other clients keep receiving (rule SLOW1).
 */
import {
  EngineClient,
  findFreePort,
  HttpUser,
  readResidentBytes,
  SocketUser,
  SseClient,
  waitForFact,
} from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let metricsPort: number

beforeAll(async () => {
  metricsPort = await findFreePort()
  server = await startQuickServer({
    env: {
      LIMIT_SENDS: '0',
      LIMIT_REQUESTS: '0',
      LIMIT_CONNECTIONS: '0',
      METRICS_PORT: String(metricsPort),
      LIMIT_SIGN_INS_ADDRESS: '0',
    },
  })
})

afterAll(async () => {
  await server.remove()
})

const messageBytes = 20_000
const text = 'x'.repeat(messageBytes)

/** Returns how many connections the server has closed as slow so far. */
async function readSlowCloses(): Promise<number> {
  const answer = await HttpUser.stranger(`http://127.0.0.1:${metricsPort}`).expect<string>(200, 'GET', '/metrics')
  const lines = answer.body.matchAll(/^chorus_slow_closes_total\{[^}]*\} (\d+)$/gm)
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0)
}

/** Sends `count` messages, four at a time, and returns the highest seq. */
async function sendMany(user: HttpUser, conversation: string, count: number): Promise<number> {
  let last = 0
  for (let sent = 0; sent < count; sent += 4) {
    const seqs = await Promise.all(Array.from({ length: 4 }, () => user.send(conversation, text)))
    last = Math.max(...seqs.map(({ seq }) => seq))
  }
  return last
}

it('[SLOW1] [LIM1] clients that never read are closed, while another client receives everything', async () => {
  const [ada, slow] = await Promise.all([HttpUser.signUp(() => server.url), HttpUser.signUp(() => server.url)])
  const conversation = await ada.createConversation('direct', [slow.id])
  const reader = await SocketUser.connect(server.url, { cookie: ada.cookie })
  const websocket = await EngineClient.connect(server.url, { cookie: slow.cookie })
  const stream = await SseClient.open(server.url, { cookie: slow.cookie })
  const ready = await stream.waitFor(({ name }) => name === 'ready', 'ready')
  // This polling client joins the namespace and never polls again.
  const { body } = await slow.expect<string>(200, 'GET', '/socket.io/?EIO=4&transport=polling')
  const { sid } = JSON.parse(String(body).slice(1)) as { sid: string }
  const poll = `/socket.io/?EIO=4&transport=polling&sid=${sid}`
  await slow.expect(200, 'POST', poll, undefined, { rawBody: '40', headers: { 'content-type': 'text/plain' } })
  websocket.pause()
  stream.pause()

  // The kernel buffers some megabytes per connection, so the server notices only later that a
  // client does not read. Send until it has closed all three.
  const memory = readResidentBytes(server.pid)
  let last = 0
  for (let sentBytes = 0; (await readSlowCloses()) < 3; sentBytes += 40 * messageBytes) {
    expect(sentBytes).toBeLessThan(100_000_000)
    last = await sendMany(ada, conversation, 40)
  }
  await reader.waitForSeq(conversation, last, 30_000)
  const seqs = reader.changesOf(conversation).map(({ seq }) => seq)
  expect(seqs).toEqual(Array.from({ length: last - seqs[0]! + 1 }, (_, index) => seqs[0]! + index))
  expect(reader.disconnections).toEqual([])
  expect(readResidentBytes(server.pid) - memory).toBeLessThan(150 * 1024 * 1024)
  // The polling session ends because it is slow, well before one of its heartbeats could time out.
  const pong = { rawBody: '3', headers: { 'content-type': 'text/plain' } }
  await waitForFact(async () => (await slow.call('POST', poll, undefined, pong)).status === 400, {
    what: 'the end of the poll',
  })

  // The two clients read again. They get the data that the kernel had buffered, and then the end of
  // the connection, but never the last message.
  let isStreamOver = false
  void stream.ended.then(() => {
    isStreamOver = true
  })
  websocket.resume()
  stream.resume()
  await waitForFact(() => websocket.isClosed && isStreamOver, { what: 'the end of both', timeoutMs: 20_000 })
  const got = (packets: readonly string[]) => packets.some((packet) => packet.includes(`"seq":${last},`))
  expect(got(websocket.packets)).toBe(false)
  expect(got(stream.events.map(({ data }) => JSON.stringify(data)))).toBe(false)

  // The slow client resumes with its cursor and receives every message.
  const again = await SocketUser.connect(server.url, {
    cookie: slow.cookie,
    cursor: (ready.data as { cursor: string }).cursor,
  })
  await again.waitForSeq(conversation, last, 20_000)
  expect(new Set(again.changesOf(conversation).map(({ seq }) => seq)).size).toBe(seqs.length)
  again.close()
  reader.close()
}, 60_000)

it('[SLOW1] a hundred clients that never read cost at most 64 MB', async () => {
  const ada = await HttpUser.signUp(() => server.url)
  const readers = await Promise.all(Array.from({ length: 4 }, () => HttpUser.signUp(() => server.url)))
  const group = await ada.createConversation(
    'group',
    readers.map(({ id }) => id),
    'a slow crowd',
  )
  const reader = await SocketUser.connect(server.url, { cookie: ada.cookie })
  // Send the same load without slow clients first, so that the memory measured later is only their
  // cost.
  let last = await sendMany(ada, group, 400)
  await reader.waitForSeq(group, last, 20_000)

  const crowd: { pause(): void; close(): void }[] = []
  for (let count = 0; count < 100; count += 10) {
    crowd.push(
      ...(await Promise.all(
        Array.from({ length: 10 }, async (_, index) => {
          const { cookie } = readers[index % readers.length]!
          if (index % 2 === 0) return EngineClient.connect(server.url, { cookie })
          const stream = await SseClient.open(server.url, { cookie })
          await stream.waitFor(({ name }) => name === 'ready', 'ready')
          return stream
        }),
      )),
    )
  }
  const before = readResidentBytes(server.pid)
  for (const client of crowd) client.pause()
  const closedBefore = await readSlowCloses()
  let most = 0
  for (let sentBytes = 0; (await readSlowCloses()) < closedBefore + 100; sentBytes += 40 * messageBytes) {
    expect(sentBytes).toBeLessThan(100_000_000)
    last = await sendMany(ada, group, 40)
    await reader.waitForSeq(group, last, 20_000)
    most = Math.max(most, readResidentBytes(server.pid) - before)
  }
  expect(most).toBeLessThan(64 * 1024 * 1024)
  for (const client of crowd) client.close()
  reader.close()
}, 60_000)
