/**
 * Packets, frames and connections that no client library makes. For each, the server refuses the
 * input or closes the connection, and keeps serving other clients.
 */
import { randomUUID } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import {
  EngineClient,
  HttpUser,
  RawSocket,
  readResidentBytes,
  SocketUser,
  SseClient,
  waitForFact,
} from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let ada: HttpUser
let bob: HttpUser
let conversation: string
/** Connection of another user, which must stay open and receive messages during every attack. */
let bystander: SocketUser

beforeAll(async () => {
  server = await startQuickServer({ env: { LIMIT_CONNECTIONS: '60' } })
  ada = await HttpUser.signUp(() => server.url)
  bob = await HttpUser.signUp(() => server.url)
  conversation = await ada.createConversation('direct', [bob.id])
  bystander = await SocketUser.connect(server.url, { cookie: bob.cookie })
})

afterEach(async () => {
  await bob.expect(200, 'GET', '/readyz')
  const { seq } = await bob.send(conversation, 'the server is well')
  await bystander.waitForSeq(conversation, seq)
  expect(bystander.disconnections).toEqual([])
})

afterAll(async () => {
  bystander.close()
  await server.remove()
})

const open = () => EngineClient.connect(server.url, { cookie: ada.cookie })

/** Waits until the connection is closed or acknowledges a send. Fails on every other outcome. */
async function closedOrSane(client: EngineClient, what: string): Promise<void> {
  client.send(`42777["send",{"conversation":"${conversation}","clientId":"${randomUUID()}","text":"still here"}]`)
  await waitForFact(() => client.isClosed || client.packets.some((packet) => packet.startsWith('43777[{"ok":true')), {
    what: `an end or an answer after ${what}`,
  })
  client.close()
}

describe('Socket.IO packets', () => {
  it.each([
    '4abc',
    '4',
    '9',
    'x',
    '',
    '42{}',
    '42[]',
    '42abc["send"]',
    '42["send"',
    '42"send"',
    '42[{"a":1},{}]',
    '42[["send"],{}]',
    '42[null]',
    '42[1,2]',
    '42["connect",{}]',
    '42["disconnect",{}]',
    '42["disconnecting"]',
    '42["error",{}]',
    '42["connect_error",{}]',
    '42["newListener",{}]',
    '42["removeListener"]',
    '42["__proto__",{}]',
    '42["constructor",{}]',
    '42["toString"]',
    '42["hasOwnProperty",{}]',
    '421e3["send",{}]',
    '4299999999999999999999["send",{}]',
    '42-1["send",{}]',
    '43["send"]',
    '431[{}]',
    '44{"message":"x"}',
    '45',
    '451-["x",{"_placeholder":true,"num":0}]',
    '4511-["x",{"_placeholder":true,"num":0}]',
    '451-["send",{"_placeholder":true,"num":"splice"}]',
    '451-["send",{"_placeholder":true,"num":1000}]',
    '45-1-["x"]',
    '451e9-["x"]',
    '40{"cursor":1}',
    '40',
    '41',
    '46',
    '47[]',
    '0{"sid":"x"}',
    '1',
    '3probe',
    '2probe',
    '5',
    '6',
    `42["${'x'.repeat(10_000)}",{}]`,
    `42["send",${'['.repeat(20_000)}${']'.repeat(20_000)}]`,
    '42["\ufffd\ufffd"]',
  ])('[LIM1] the server survives the packet %j', async (packet) => {
    const client = await open()
    client.send(packet)
    await closedOrSane(client, packet.slice(0, 40))
  })

  it('[LIM1] a client that leaves the namespace and then sends is served or closed', async () => {
    const client = await open()
    client.send('41')
    await bob.expect(200, 'GET', '/readyz')
    await closedOrSane(client, 'leaving')
  })

  it('[LIM1] the server survives missing attachments and unannounced binary data', async () => {
    for (const frames of [
      ['451-["send",{"_placeholder":true,"num":0}]', Buffer.from('x'), Buffer.from('y')],
      [Buffer.from([4, 1, 2, 3])],
      [Buffer.alloc(100_000)],
      ['4511-["a"]', Buffer.from('x'), '42["send",{}]'],
    ]) {
      const client = await open()
      for (const frame of frames) client.send(frame)
      await closedOrSane(client, 'binary')
    }
  })

  it('[LIM1] a packet at the size limit is answered, one byte more closes the connection', async () => {
    const fill = (bytes: number) => {
      const packet = `421["send",{"text":""}]`
      return packet.replace('""', `"${'a'.repeat(bytes - packet.length)}"`)
    }
    const at = await open()
    at.send(fill(131_072))
    await at.waitForPacket((packet) => packet.startsWith('431['), 'an answer')
    at.close()
    const over = await open()
    over.send(fill(131_073))
    await over.waitForClose()
    expect(over.end).toEqual({ code: 1009 })
  })

  it('[ACL3] the server survives invalid events that request no acknowledgement', async () => {
    const client = await open()
    client.send('42["send"]')
    client.send('42["delete",{"conversation":"x"}]')
    client.send('42["no such event",1,2,3]')
    await closedOrSane(client, 'events without an acknowledgement')
  })
})

describe('WebSocket frames and poll bodies', () => {
  async function upgrade(extensions?: string): Promise<RawSocket> {
    const socket = await RawSocket.connect(server.port)
    socket.send(
      [
        `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1`,
        `Host: 127.0.0.1:${server.port}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        `Cookie: ${ada.cookie}`,
        ...(extensions === undefined ? [] : [`Sec-WebSocket-Extensions: ${extensions}`]),
        '\r\n',
      ].join('\r\n'),
    )
    expect(await socket.waitForStatus()).toBe(101)
    return socket
  }

  /** Builds one WebSocket frame. A masked frame uses the mask 0, so its payload stays readable. */
  function frame(first: number, payload: Buffer, masked = true): Buffer {
    const length =
      payload.length < 126
        ? Buffer.from([(masked ? 0x80 : 0) | payload.length])
        : payload.length < 65_536
          ? Buffer.from([(masked ? 0x80 : 0) | 126, payload.length >> 8, payload.length & 255])
          : Buffer.from([
              (masked ? 0x80 : 0) | 127,
              0,
              0,
              0,
              0,
              ...[24, 16, 8, 0].map((by) => (payload.length >> by) & 255),
            ])
    return Buffer.concat([Buffer.from([first]), length, ...(masked ? [Buffer.alloc(4)] : []), payload])
  }

  it.each([
    ['a reserved bit', () => frame(0xc1, Buffer.from('40'))],
    ['another reserved bit', () => frame(0xa1, Buffer.from('40'))],
    ['an unknown opcode', () => frame(0x83, Buffer.from('40'))],
    ['an unknown control opcode', () => frame(0x8b, Buffer.from('x'))],
    ['no mask', () => frame(0x81, Buffer.from('40'), false)],
    ['a ping that is too long', () => frame(0x89, Buffer.alloc(126))],
    ['a ping in parts', () => frame(0x09, Buffer.from('x'))],
    ['a continuation of nothing', () => frame(0x80, Buffer.from('x'))],
    ['text that is not UTF-8', () => frame(0x81, Buffer.from([0x34, 0xff, 0xfe]))],
    ['a close code that may not be sent', () => frame(0x88, Buffer.from([0x03, 0xed]))],
    ['a length of 2^63', () => Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
    [
      'a length over the limit, before its bytes',
      () => Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0]),
    ],
  ])('[LIM1] a WebSocket frame is refused by closing its connection: %s', async (_what, make) => {
    const socket = await upgrade()
    socket.send(make())
    await socket.waitForClose()
  })

  it('[LIM1] a message in many tiny fragments has the size limit of a whole one', async () => {
    const socket = await upgrade()
    const part = frame(0x00, Buffer.from('a'))
    socket.send(frame(0x01, Buffer.from('4')))
    for (let count = 0; count < 20 && !socket.isClosed; count += 1) {
      socket.send(Buffer.concat(Array.from({ length: 10_000 }, () => part)))
    }
    await socket.waitForClose()
  })

  it('[LIM1] the server offers no compression, and closes on compressed data', async () => {
    const socket = await upgrade('permessage-deflate; client_max_window_bits')
    expect(socket.text).not.toMatch(/sec-websocket-extensions/i)
    socket.send(frame(0xc1, deflateRawSync(Buffer.alloc(50_000_000, 'a'))))
    await socket.waitForClose()
  })

  it('[LIM1] thousands of headers and binary poll bodies are refused', async () => {
    const socket = await RawSocket.connect(server.port)
    socket.send(`GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n`)
    for (let count = 0; count < 4_000; count += 1) socket.send(`X-${count}: y\r\n`)
    socket.send('\r\n')
    await waitForFact(() => socket.isClosed || socket.status >= 400, { what: 'a refusal' })
    socket.close()
    for (const path of ['/socket.io/?EIO=4&transport=polling', '/socket.io/?EIO=4&transport=polling&sid=guessed']) {
      for (const type of ['application/octet-stream', 'text/plain;charset=UTF-8', 'application/json']) {
        const answer = await ada.call('POST', path, undefined, {
          rawBody: Buffer.from([0, 255, 4, 1]),
          headers: { 'content-type': type },
        })
        expect(answer.status).toBe(400)
      }
    }
  })

  it('[LIM1] a malformed or oversized poll body disturbs no other connection', async () => {
    const bodies: [string, Buffer | string][] = [
      ['application/octet-stream', Buffer.from([4, 0, 255])],
      ['text/plain;charset=UTF-8', 'a'.repeat(140_000)],
      ['text/plain;charset=UTF-8', '4abc'],
      ['text/plain;charset=UTF-8', 'b////'],
      ['text/plain;charset=UTF-8', '\x1e'.repeat(10_000)],
      ['text/plain;charset=UTF-8', `42["x",{}]\x1e`.repeat(5_000)],
    ]
    for (const [type, rawBody] of bodies) {
      const opened = await ada.expect<string>(200, 'GET', '/socket.io/?EIO=4&transport=polling')
      const { sid } = JSON.parse(String(opened.body).slice(1)) as { sid: string }
      const path = `/socket.io/?EIO=4&transport=polling&sid=${sid}`
      await ada.expect(200, 'POST', path, undefined, {
        rawBody: '40',
        headers: { 'content-type': 'text/plain;charset=UTF-8' },
      })
      const answer = await ada
        .call('POST', path, undefined, { rawBody, headers: { 'content-type': type } })
        .catch(() => ({ status: 0 }))
      expect([0, 200, 400, 413]).toContain(answer.status)
    }
  })
})

describe('too many connections or events', () => {
  it('[LIM1] connections per address are limited, and a closed one makes room for another', async () => {
    const idle = Array.from({ length: 80 }, () => EngineClient.open(server.url, { cookie: ada.cookie }))
    await waitForFact(() => idle.every((client) => client.isClosed || client.packets.length > 0), {
      what: 'an answer to each handshake',
    })
    // The server allows 60 connections, and the bystander has one of them. So at most 59 of these
    // clients can join the namespace, and the server refuses the rest.
    for (const client of idle) client.send('40')
    await waitForFact(
      () => idle.every((client) => client.isClosed || client.packets.some((packet) => /^(40\{|44\{)/.test(packet))),
      { what: 'an answer to each connect' },
    )
    const served = idle.filter((client) => client.packets.some((packet) => packet.startsWith('40{'))).length
    expect(served).toBeGreaterThan(0)
    expect(served).toBeLessThanOrEqual(59)
    const refused = idle.flatMap((client) => client.packets.filter((packet) => packet.startsWith('44{')))
    for (const packet of refused) expect(packet).toContain('"code":"rate-limited"')
    const refusal = await ada.expect<{ code: string }>(429, 'GET', '/v1/events', undefined, {
      headers: { accept: '*/*' },
    })
    expect(refusal.body.code).toBe('rate-limited')
    // EventSource never reconnects after a 429. So it gets a stream with a `closing` event instead.
    const stream = await SseClient.open(server.url, { cookie: ada.cookie })
    const closing = await stream.waitFor(({ name }) => name === 'closing', 'the refusal')
    expect([stream.status, closing.data]).toEqual([
      200,
      { code: 'rate-limited', message: expect.stringMatching(/^unable to /) as string, retry: 'later' },
    ])
    await stream.ended
    for (const client of idle) client.close()
    await waitForFact(async () => {
      const client = await open()
      client.close()
      return true
    })
  })

  it('[LIM1] a socket that never joins the namespace is closed', async () => {
    const client = EngineClient.open(server.url, { cookie: ada.cookie })
    await client.waitForPacket((packet) => packet.startsWith('0{'))
    await client.waitForClose(8_000)
  })

  it('[LIM1] every unknown namespace is refused', async () => {
    const client = await open()
    for (let count = 0; count < 1_000; count += 1) client.send(`40/n${count},`)
    await waitForFact(
      () => client.isClosed || client.packets.filter((packet) => packet.startsWith('44/')).length === 1_000,
      {
        what: 'a refusal of each',
      },
    )
    await closedOrSane(client, 'a thousand namespaces')
  })

  it('[LIM1] a flood of events is cut off, and other clients are served', async () => {
    const flooder = await open()
    const memory = readResidentBytes(server.pid)
    const packet = `421["send",{"conversation":"${conversation}","clientId":"${randomUUID()}","text":"flood"}]`
    let isFlooding = true
    const flood = (async () => {
      let sent = 0
      while (isFlooding && sent < 200_000 && !flooder.isClosed) {
        for (let count = 0; count < 500; count += 1) flooder.send(packet)
        sent += 500
        await new Promise((resolve) => setImmediate(resolve))
      }
      return sent
    })()
    // Another user sends during the flood, and every message is acknowledged.
    for (let count = 0; count < 20; count += 1) {
      const answer = await bystander.command(
        'send',
        { conversation, clientId: randomUUID(), text: `calm ${count}` },
        5_000,
      )
      expect(answer.ok).toBe(true)
    }
    await waitForFact(() => flooder.isClosed, { what: 'the end of the flooder', timeoutMs: 20_000 })
    isFlooding = false
    await flood
    expect(flooder.packets.some((text) => text.includes('"code":"rate-limited"'))).toBe(true)
    expect(readResidentBytes(server.pid) - memory).toBeLessThan(150 * 1024 * 1024)
  })

  it('[LIM1] ten thousand typing events are throttled before they reach other members', async () => {
    const client = await open()
    const before = bystander.named('live').length
    for (let count = 0; count < 10_000; count += 1) {
      client.send(`42["live",{"conversation":"${conversation}","key":"typing","value":${count},"ttlMs":1000}]`)
    }
    client.send(`425["status",{"status":"online"}]`)
    await waitForFact(() => client.isClosed || client.packets.some((packet) => packet.startsWith('435[')), {
      what: 'the end of the flood',
      timeoutMs: 20_000,
    })
    const { seq } = await bob.send(conversation, 'barrier')
    await bystander.waitForSeq(conversation, seq)
    expect(bystander.named('live').length - before).toBeLessThan(1_000)
    client.close()
  })

  it('[LIM1] HTTP requests above the rate limit get 429 and Retry-After', async () => {
    const carol = await HttpUser.signUp(() => server.url)
    const answers = await Promise.all(
      Array.from({ length: 300 }, () => carol.call<{ code: string }>('GET', '/v1/session')),
    )
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused.length).toBeGreaterThan(0)
    for (const answer of refused) {
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
      expect(answer.body).toMatchObject({ code: 'rate-limited', retry: 'later' })
    }
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 429]))
  })

  it('[LIM1] forged acknowledgements are ignored', async () => {
    const client = await open()
    for (let count = 0; count < 1_000; count += 1) client.send(`43${count}[{"ok":true}]`)
    await closedOrSane(client, 'acknowledgements of nothing')
  })

  it('[LIM2] after a loop of reconnections, the client can still connect', async () => {
    for (let count = 0; count < 200; count += 1) {
      const client = EngineClient.open(server.url, { cookie: ada.cookie })
      if (count % 2 === 0) await client.waitForPacket((packet) => packet.startsWith('0{'))
      if (count % 4 === 0) client.send('40')
      client.close()
    }
    await waitForFact(async () => {
      const client = await open()
      client.close()
      return true
    })
  })
})

describe('slow HTTP requests', () => {
  // Each test waits until a timeout of the server ends its request, so the tests run concurrently.
  it.concurrent('[LIM1] a request whose headers arrive byte by byte is cut off', async () => {
    const socket = await RawSocket.connect(server.port)
    socket.send('GET /v1/session HTTP/1.1\r\nHost: x\r\nX-Slow: ')
    const timer = setInterval(() => socket.send('a'), 200)
    await socket.waitForClose(20_000)
    clearInterval(timer)
    expect([0, 408]).toContain(socket.status)
  })

  it.concurrent('[LIM1] a request whose body never ends is cut off', async () => {
    const socket = await RawSocket.connect(server.port)
    socket.send(
      `POST /v1/session HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`,
    )
    const timer = setInterval(() => socket.send(' '), 500)
    await socket.waitForClose(28_000)
    clearInterval(timer)
    expect([0, 408]).toContain(socket.status)
  })
})

describe('malformed HTTP requests', () => {
  it.each([
    ['two lengths', 'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}'],
    ['a length and chunks', 'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['an unknown coding', 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['a length that is no number', 'Content-Length: 0x2\r\n\r\n{}'],
    ['a negative length', 'Content-Length: -1\r\n\r\n{}'],
    ['chunks of no size', 'Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n'],
    ['a header with a bare line feed in it', 'X: a\n\tb\r\nContent-Length: 2\r\n\r\n{}'],
    ['a header with NUL', 'X: a\u0000b\r\nContent-Length: 2\r\n\r\n{}'],
  ])('an HTTP request is refused for %s', async (_what, rest) => {
    const socket = await RawSocket.connect(server.port)
    socket.send(`POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${rest}`)
    expect(await socket.waitForStatus()).toBe(400)
    socket.close()
  })

  it('[LIM1] the server ignores forwarded headers from an untrusted address', async () => {
    const stranger = HttpUser.stranger(server.url)
    const statuses = new Set<number>()
    for (let count = 0; count < 14; count += 1) {
      const answer = await stranger.call(
        'POST',
        '/v1/session',
        { handle: ada.handle, password: 'wrong password' },
        {
          headers: {
            'x-forwarded-for': `10.0.0.${count}`,
            'x-forwarded-proto': 'https',
            'x-real-ip': `10.0.0.${count}`,
            forwarded: `for=10.0.0.${count}`,
          },
        },
      )
      statuses.add(answer.status)
    }
    expect(statuses).toEqual(new Set([401, 429]))
    const spoofed = await bob.call('GET', '/v1/session', undefined, {
      headers: { origin: 'https://evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' },
    })
    expect(spoofed.status).toBe(403)
  })

  it('[SSE1] an event stream with credentials in the URL or a wrong Accept is refused', async () => {
    for (const query of ['token=x', 'session=x', 'chorus_session=x', 'cursor=a&cursor=b&token=x']) {
      await bob.expect(400, 'GET', `/v1/events?${query}`)
    }
    await bob.expect(415, 'GET', '/v1/events', undefined, { headers: { accept: 'application/json' } })
    const stream = await SseClient.open(server.url, { cookie: bob.cookie, lastEventId: 'x'.repeat(3_000) })
    await stream.waitFor(({ name }) => name === 'reset', 'reset')
    stream.close()
  })
})
