/**
 * Clients that send requests and never read the responses, and clients that send binary data, which
 * the protocol does not use.
 */
import { randomUUID } from 'node:crypto'
import {
  EngineClient,
  findFreePort,
  HttpUser,
  RawSocket,
  readResidentBytes,
  SocketUser,
  waitForFact,
} from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let metricsPort: number
let ada: HttpUser
let bob: HttpUser
let conversation: string
let bystander: SocketUser

const memoryMaxBytes = 150 * 1024 * 1024
const plain = { 'content-type': 'text/plain;charset=UTF-8' }

beforeAll(async () => {
  metricsPort = await findFreePort()
  server = await startQuickServer({
    env: { METRICS_PORT: String(metricsPort), LIMIT_REQUESTS: '0', LIMIT_SENDS: '0', LIMIT_SIGN_INS_ADDRESS: '0' },
  })
  ada = await HttpUser.signUp(() => server.url)
  bob = await HttpUser.signUp(() => server.url)
  conversation = await ada.createConversation('direct', [bob.id])
  // Twenty messages of 10 kB, so that each page the attacker requests has 200 kB.
  for (let count = 0; count < 20; count++) await ada.send(conversation, 'x'.repeat(10_000))
  bystander = await SocketUser.connect(server.url, { cookie: bob.cookie })
})

afterAll(async () => {
  bystander.close()
  await server.remove()
})

beforeEach(() => {
  expect(bystander.disconnections).toEqual([])
})

async function readSlowCloses(): Promise<number> {
  const answer = await HttpUser.stranger(`http://127.0.0.1:${metricsPort}`).expect<string>(200, 'GET', '/metrics')
  const lines = answer.body.matchAll(/^chorus_slow_closes_total\{[^}]*\} (\d+)$/gm)
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0)
}

/** Checks that a send of another member is acknowledged within five seconds. */
async function sendCalmly(): Promise<void> {
  const answer = await bystander.command('send', { conversation, clientId: randomUUID(), text: 'calm' }, 5_000)
  expect(answer.ok).toBe(true)
}

describe('clients that never read responses', () => {
  it('[SLOW1] a WebSocket client that never reads is closed as slow', async () => {
    const before = await readSlowCloses()
    const memory = readResidentBytes(server.pid)
    const client = await EngineClient.connect(server.url, { cookie: ada.cookie })
    client.pause()
    let id = 0
    await waitForFact(
      async () => {
        for (let count = 0; count < 20; count++) client.send(`42${id++}["sync",{}]`)
        await sendCalmly()
        return (await readSlowCloses()) > before
      },
      { what: 'the end of the connection', timeoutMs: 20_000 },
    )
    expect(readResidentBytes(server.pid) - memory).toBeLessThan(memoryMaxBytes)
    client.resume()
    await client.waitForClose()
    // The server stopped running the client's requests when it could no longer send responses:
    // there are fewer responses than requests.
    expect(client.packets.filter((packet) => packet.startsWith('43')).length).toBeLessThan(id)
  })

  it('[SLOW1] a polling client that never reads is closed as slow', async () => {
    const before = await readSlowCloses()
    const memory = readResidentBytes(server.pid)
    const { body } = await ada.expect<string>(200, 'GET', '/socket.io/?EIO=4&transport=polling')
    const { sid } = JSON.parse(String(body).slice(1)) as { sid: string }
    const path = `/socket.io/?EIO=4&transport=polling&sid=${sid}`
    await ada.expect(200, 'POST', path, undefined, { rawBody: '40', headers: plain })
    // Wait for `ready`: an event sent before the namespace is connected would end the session.
    await waitForFact(async () => (await ada.expect<string>(200, 'GET', path)).body.includes('"ready"'), {
      what: 'ready',
    })
    // Send all polls on one connection: the kernel buffers some megabytes per connection, and the
    // server notices an unread response only after that.
    const poll = await RawSocket.connect(server.port)
    poll.socket.pause()
    let id = 0
    await waitForFact(
      async () => {
        const rawBody = Array.from({ length: 20 }, () => `42${id++}["sync",{}]`).join('\x1e')
        await ada.call('POST', path, undefined, { rawBody, headers: plain })
        poll.send(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nCookie: ${ada.cookie}\r\n\r\n`)
        await sendCalmly()
        return (await readSlowCloses()) > before
      },
      { what: 'the end of the session', timeoutMs: 25_000 },
    )
    expect(readResidentBytes(server.pid) - memory).toBeLessThan(memoryMaxBytes)
    poll.close()
  })

  it("[SLOW1] a flood of unread refusals does not grow the server's memory", async () => {
    const client = await EngineClient.connect(server.url, { cookie: ada.cookie })
    client.pause()
    const memory = readResidentBytes(server.pid)
    for (let id = 0; id < 200_000 && !client.isClosed; id += 500) {
      for (let count = 0; count < 500; count++) client.send(`42${id + count}["no such event",{}]`)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await sendCalmly()
    expect(readResidentBytes(server.pid) - memory).toBeLessThan(memoryMaxBytes)
    client.close()
  })
})

describe('binary data from a client', () => {
  it('[BAD1] an event with attachments is refused, and its connection stays open', async () => {
    const client = await SocketUser.connect(server.url, { cookie: ada.cookie })
    for (const data of [Buffer.from('hi'), Buffer.alloc(100_000), { a: [new Uint8Array(9)] }]) {
      const answer = await client.command('send', { conversation, clientId: randomUUID(), text: 'x', data })
      expect(answer).toMatchObject({ ok: false, error: { code: 'invalid', retry: 'never' } })
    }
    const answer = await client.command('send', { conversation, clientId: randomUUID(), text: 'text goes on' })
    expect(answer.ok).toBe(true)
    client.close()
  })

  it('[BAD1] an event with attachments is refused over polling', async () => {
    const client = await SocketUser.connect(server.url, { cookie: ada.cookie, transports: ['polling'] })
    const answer = await client.command('send', {
      conversation,
      clientId: randomUUID(),
      text: 'x',
      data: Buffer.alloc(9),
    })
    expect(answer).toMatchObject({ ok: false, error: { code: 'invalid' } })
    client.close()
  })

  it('[LIM1] a flood of large attachments delays no other member', async () => {
    const client = await SocketUser.connect(server.url, { cookie: ada.cookie })
    for (let round = 0; round < 10; round++) {
      for (let count = 0; count < 30; count++)
        client.socket.emit('send', { conversation, clientId: randomUUID(), text: 'x', data: Buffer.alloc(120_000) })
      await sendCalmly()
    }
    client.close()
  })

  it('[BAD1] binary data without its announcing packet closes the connection', async () => {
    const bytes = await EngineClient.connect(server.url, { cookie: ada.cookie })
    bytes.send(Buffer.from('x'))
    await bytes.waitForPacket((packet) => packet.startsWith('42["closing"') && packet.includes('"invalid"'))
    await bytes.waitForClose()
    const placeholder = await SocketUser.connect(server.url, { cookie: ada.cookie })
    const data = { _placeholder: true, num: 0 }
    const answer = await placeholder.command('send', { conversation, clientId: randomUUID(), text: 'x', data })
    // Without attachments, a placeholder is a plain object.
    expect(answer.ok).toBe(true)
    placeholder.close()
  })
})

describe('packets that are expensive to process', () => {
  it('[LIM1] thousands of packets in one poll body delay no other member', async () => {
    for (const packet of ['42["x"]', '421["sync",{}]', '40/n,', '2', '3', '6', '4']) {
      const { body } = await ada.expect<string>(200, 'GET', '/socket.io/?EIO=4&transport=polling')
      const { sid } = JSON.parse(String(body).slice(1)) as { sid: string }
      const path = `/socket.io/?EIO=4&transport=polling&sid=${sid}`
      await ada.expect(200, 'POST', path, undefined, { rawBody: '40', headers: plain })
      const rawBody = Array.from({ length: Math.floor(130_000 / (packet.length + 1)) }, () => packet).join('\x1e')
      await ada.call('POST', path, undefined, { rawBody, headers: plain }).catch(() => undefined)
      await sendCalmly()
    }
  })

  it('[LIM1] a thousand CONNECT packets in one request open the namespace once', async () => {
    const { body } = await ada.expect<string>(200, 'GET', '/socket.io/?EIO=4&transport=polling')
    const { sid } = JSON.parse(String(body).slice(1)) as { sid: string }
    const path = `/socket.io/?EIO=4&transport=polling&sid=${sid}`
    const rawBody = Array.from({ length: 1_000 }, () => '40').join('\x1e')
    await ada.call('POST', path, undefined, { rawBody, headers: plain }).catch(() => undefined)
    const poll = await ada.call<string>('GET', path).catch(() => undefined)
    expect(String(poll?.body ?? '').split('40{').length - 1).toBeLessThanOrEqual(1)
    await sendCalmly()
  })

  it.each([
    ['many keys', () => `{${Array.from({ length: 12_000 }, (_, key) => `"k${key}":1`).join(',')}}`],
    ['many small objects', () => `[${'{},'.repeat(40_000)}{}]`],
    ['deep nesting', () => `${'['.repeat(60_000)}${']'.repeat(60_000)}`],
    ['a long string', () => `"${'x'.repeat(120_000)}"`],
    ['a number that cannot be kept', () => '9007199254740993'],
    ['a key twice', () => '{"a":1,"a":2}'],
  ])('[LIM1] [BAD1] data with %s is refused over Socket.IO and REST', async (_what, make) => {
    const data = make()
    const fields = `"clientId":"${randomUUID()}","text":"x","data":${data}`
    const client = await EngineClient.connect(server.url, { cookie: ada.cookie })
    client.send(`427["send",{"conversation":"${conversation}",${fields}}]`)
    const packet = await client.waitForPacket((text) => text.startsWith('437['))
    expect(packet).toMatch(/"code":"(invalid|too-large)"/)
    client.close()
    const { status } = await ada.call('POST', `/v1/conversations/${conversation}/messages`, undefined, {
      rawBody: `{${fields}}`,
    })
    expect([400, 413]).toContain(status)
  })
})
