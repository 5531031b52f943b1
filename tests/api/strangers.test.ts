/**
 * Requests without a session, as many as one address can make. Members who chat must not notice
 * them (rule LIM1).
 */
import { randomUUID } from 'node:crypto'
import { HttpUser, RawSocket, readResidentBytes, SocketUser } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let conversation: string
let member: SocketUser

beforeAll(async () => {
  server = await startQuickServer()
  const ada = await HttpUser.signUp(() => server.url)
  const ben = await HttpUser.signUp(() => server.url)
  conversation = await ada.createConversation('direct', [ben.id])
  member = await SocketUser.connect(server.url, { cookie: ada.cookie })
})

afterAll(async () => {
  member.close()
  await server.remove()
})

async function sendCalmly(): Promise<void> {
  const answer = await member.command('send', { conversation, clientId: randomUUID(), text: 'calm' }, 5_000)
  expect(answer.ok).toBe(true)
}

const stranger = () => HttpUser.stranger(server.url)

describe('clients without a session, all at one address', () => {
  it.each(['/v1/openapi.json', '/'])(
    '[LIM1] requests for %s on 400 connections that never read delay no member',
    async (path) => {
      const memory = readResidentBytes(server.pid)
      const sockets = await Promise.all(Array.from({ length: 400 }, () => RawSocket.connect(server.port)))
      for (const socket of sockets) {
        socket.socket.pause()
        // The twenty responses on one connection are larger than the kernel's buffers, so the
        // server has to hold the rest.
        socket.send(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html,*/*\r\n\r\n`.repeat(20))
      }
      for (let count = 0; count < 5; count++) {
        await sendCalmly()
        expect((await stranger().call('GET', '/livez')).status).toBe(200)
      }
      expect(readResidentBytes(server.pid) - memory).toBeLessThan(150 * 1024 * 1024)
      for (const socket of sockets) socket.close()
      await sendCalmly()
    },
  )

  it('[LIM1] a flood of requests for the API document is limited, and delays no member', async () => {
    const answers = await Promise.all(Array.from({ length: 300 }, () => stranger().call('GET', '/v1/openapi.json')))
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused.length).toBeGreaterThan(0)
    for (const { headers } of refused) expect(Number(headers['retry-after'])).toBeGreaterThan(0)
    await sendCalmly()
  })

  it.each([
    ['a large sign-in', 'POST', '/v1/session', { handle: 'x'.repeat(60_000), password: 'y' }, [413, 429]],
    ['a large sign-up', 'POST', '/v1/users', { handle: 'x', password: 'y'.repeat(60_000), name: 'z' }, [413, 429]],
    [
      'many keys',
      'POST',
      '/v1/session',
      Object.fromEntries(Array.from({ length: 1_000 }, (_, key) => [`k${key}`, 1])),
      [400, 429],
    ],
  ] as const)(
    '[LIM1] the server refuses %s before it parses the body or hashes the password',
    async (_what, method, path, body, expected) => {
      for (let count = 0; count < 20; count++)
        expect((await stranger().call(method, path, body)).status).toBeOneOf([...expected])
      await sendCalmly()
    },
  )

  it('[LIM1] handshakes, broken cookies and unknown paths delay no member', async () => {
    const broken = `chorus_session=${'x'.repeat(4_000)}.${'A'.repeat(43)}`
    for (let round = 0; round < 5; round++) {
      const asked = Array.from({ length: 100 }, (_, index) =>
        stranger()
          .call(
            'GET',
            ['/socket.io/?EIO=4&transport=polling', '/v1/session', '/v1/nothing', '/a/b/c.js'][index % 4]!,
            undefined,
            {
              headers: { cookie: broken },
            },
          )
          .catch(() => undefined),
      )
      await sendCalmly()
      await Promise.all(asked)
    }
  })

  it('[LIM1] connections that are reset during or after an upgrade end no server', async () => {
    // Last, because it uses up the connection limit of this address.
    const upgrade = async (): Promise<RawSocket> => {
      const socket = await RawSocket.connect(server.port)
      const headers = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
      const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
      socket.send(
        ['GET /socket.io/?EIO=4&transport=websocket HTTP/1.1', 'Host: x', ...headers, key, '', ''].join('\r\n'),
      )
      return socket
    }
    const refused: RawSocket[] = []
    for (let round = 0; refused.length < 100 && round < 100; round++) {
      const sockets = await Promise.all(Array.from({ length: 50 }, upgrade))
      await Promise.all(
        sockets.map(async (socket, index) => {
          if (index % 2 === 0 && (await socket.waitForStatus()) === 429) refused.push(socket)
          if (index % 4 === 0 || !refused.includes(socket)) socket.socket.resetAndDestroy()
        }),
      )
      await sendCalmly()
    }
    expect(refused.length).toBeGreaterThanOrEqual(100)
    // The others keep their side open, and the server closes them.
    for (const socket of refused) await socket.waitForClose()
    await sendCalmly()
  })
})
