/**
 * Requests from web pages of foreign origins. The server refuses them before any other check on
 * every transport, and never repeats their origin in a response header.
 */
import { EngineClient, HttpUser } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let ada: HttpUser

beforeAll(async () => {
  server = await startQuickServer({
    env: { PUBLIC_URL: 'https://app.example', ALLOWED_ORIGINS: 'https://other.example', LIMIT_REQUESTS: '0' },
  })
  ada = await HttpUser.signUp(() => server.url)
  // Behind TLS, the session cookie has the prefix `__Host-`.
  expect(ada.cookie).toMatch(/^__Host-chorus_session=/)
})

afterEach(async () => {
  await ada.expect(200, 'GET', '/readyz')
  await ada.expect(200, 'GET', '/v1/session')
})

afterAll(async () => {
  await server.remove()
})

const foreign = [
  'https://evil.example',
  'null',
  'https://app.example.evil',
  'https://evil-app.example',
  'http://app.example',
  'https://app.example:8443',
  'https://app.example@evil.example',
  'https://APP.example',
  'https://app.example/',
  'file://',
  '',
  'javascript:alert(1)',
]

const browserHeaders = [
  { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors' },
  { 'sec-fetch-mode': 'websocket', 'sec-fetch-dest': 'websocket' },
]

describe('the check of the Origin header', () => {
  it.each(foreign)('[ACL3] REST, WebSocket, polling and SSE refuse the foreign origin %j', async (origin) => {
    const headers = { origin }
    for (const [method, path, body] of [
      ['POST', '/v1/conversations', { kind: 'group', name: 'forged' }],
      ['PATCH', '/v1/users/me', { name: 'forged' }],
      ['DELETE', '/v1/session', undefined],
      ['GET', '/v1/session', undefined],
      ['GET', '/v1/events', undefined],
      ['GET', '/v1/sync', undefined],
      ['OPTIONS', '/v1/conversations', undefined],
    ] as const) {
      const answer = await ada.call<{ code: string }>(method, path, body, { headers })
      expect([answer.status, answer.body.code], `${method} ${path}`).toEqual([403, 'forbidden'])
      expect(answer.headers['access-control-allow-origin'], `${method} ${path}`).toBeUndefined()
      expect(answer.headers['access-control-allow-credentials']).toBeUndefined()
    }
    const poll = await ada.call('GET', '/socket.io/?EIO=4&transport=polling', undefined, { headers })
    expect(poll.status).toBe(403)
    expect(poll.headers['access-control-allow-origin']).toBeUndefined()
    const socket = EngineClient.open(server.url, { cookie: ada.cookie, headers })
    await socket.waitForClose()
    expect(socket.end).toEqual({ status: 403 })
  })

  it.each(browserHeaders)(
    '[ACL3] a browser without Origin cannot connect, open a stream or write: %j',
    async (headers) => {
      const socket = EngineClient.open(server.url, { cookie: ada.cookie, headers })
      await socket.waitForClose()
      expect(socket.end).toEqual({ status: 403 })
      await ada.expect(403, 'POST', '/v1/conversations', { kind: 'group', name: 'forged' }, { headers })
      await ada.expect(403, 'GET', '/v1/events', undefined, { headers })
    },
  )

  it.each(['https://app.example', 'https://other.example'])(
    'the origin %s is allowed on every transport',
    async (origin) => {
      const headers = { origin }
      await ada.expect(200, 'GET', '/v1/session', undefined, { headers })
      const socket = await EngineClient.connect(server.url, { cookie: ada.cookie, headers })
      socket.close()
      const poll = await ada.call('GET', '/socket.io/?EIO=4&transport=polling', undefined, { headers })
      expect(poll.status).toBe(200)
      expect(poll.headers['access-control-allow-origin']).toBe(origin === 'https://other.example' ? origin : undefined)
    },
  )
})

describe('cross-site request forgery', () => {
  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'text/json', ''])(
    'a request body of type %j is refused',
    async (type) => {
      const rawBody = JSON.stringify({ kind: 'group', name: 'forged' })
      const answer = await ada.call<{ code: string }>('POST', '/v1/conversations', undefined, {
        rawBody,
        headers: { 'content-type': type },
      })
      expect([answer.status, answer.body.code]).toEqual([415, 'unsupported'])
    },
  )

  it('GET, HEAD and method overrides change nothing', async () => {
    const before = await ada.expect<{ conversations: unknown[] }>(200, 'GET', '/v1/conversations')
    for (const [method, path] of [
      ['GET', '/v1/conversations?kind=group&name=forged&_method=POST'],
      ['HEAD', '/v1/conversations?_method=DELETE'],
      ['GET', '/v1/session?_method=DELETE'],
      ['TRACE', '/v1/session'],
      ['PROPFIND', '/v1/session'],
    ] as const) {
      const answer = await ada.call(method, path, undefined, { headers: { 'x-http-method-override': 'DELETE' } })
      expect(answer.status, `${method} ${path}`).toBeLessThan(500)
    }
    const after = await ada.expect<{ conversations: unknown[] }>(200, 'GET', '/v1/conversations')
    expect(after.body.conversations).toEqual(before.body.conversations)
  })

  it.each([
    [{ EIO: '3' }, 400],
    [{ EIO: '5' }, 400],
    [{ transport: 'flashsocket' }, 400],
    [{ transport: '__proto__' }, 400],
    [{ transport: 'websocket', sid: 'guessed' }, 400],
    [{ EIO: '4,4' }, 400],
  ] as const)('the handshake %j is refused', async (query, status) => {
    const search = new URLSearchParams({ EIO: '4', transport: 'polling', ...query })
    await ada.expect(status, 'GET', `/socket.io/?${search.toString()}`)
    const socket = EngineClient.open(server.url, { cookie: ada.cookie, query: { transport: 'websocket', ...query } })
    await socket.waitForClose()
    expect(socket.packets.filter((packet) => packet.startsWith('42'))).toEqual([])
  })
})
