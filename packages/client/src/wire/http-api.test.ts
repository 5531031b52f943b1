/**
 * Tests of HTTP requests: the route table matches the command definitions, errors are mapped, and
 * cookies are kept.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ChorusError, commands, type CommandName } from '@chorus/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { createChatClient } from '../chat-client.ts'
import { CookieJar } from './cookie-jar.ts'
import { createHttpApi, parseRetryAfterMs, requestTimeoutMs, toHttpRequest } from './http-api.ts'
import { httpRoutes } from './http-routes.ts'
import { ManualClock, settle } from '../testing/manual-clock.ts'

let server: Server | undefined

afterEach(async () => {
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
  server = undefined
})

async function listen(
  answer: (request: IncomingMessage) => { status: number; headers?: Record<string, string>; body?: unknown },
) {
  const started = createServer((request, response) => {
    const { status, headers, body } = answer(request)
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close', ...headers })
    response.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body))
  })
  server = started
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(started.address() as AddressInfo).port}`
}

describe('the HTTP route table', () => {
  it('the HTTP route table matches the command definitions', () => {
    const sentByUsers = Object.values(commands).filter(({ auth }) => auth !== 'key')
    expect(Object.keys(httpRoutes).sort()).toEqual(sentByUsers.map(({ name }) => name).sort())
    for (const [name, route] of Object.entries(httpRoutes)) {
      const definition = commands[name as CommandName].route
      if (definition === undefined) {
        expect(route).toBeUndefined()
        continue
      }
      const { method, path, bodyIs } = definition as { method: string; path: string; bodyIs?: string }
      expect([name, ...(route ?? '').split(' ')]).toEqual([
        name,
        method,
        path,
        ...(bodyIs === undefined ? [] : [bodyIs]),
      ])
    }
  })

  it('the fields of a command go into the path, query and body of its request', () => {
    expect(toHttpRequest('add-reaction', { conversation: 'c', seq: 3, emoji: '👍' })).toEqual({
      method: 'PUT',
      path: `/v1/conversations/c/messages/3/reactions/${encodeURIComponent('👍')}`,
      body: {},
    })
    expect(toHttpRequest('find-users', { ids: ['a', 'b'], q: undefined })).toEqual({
      method: 'GET',
      path: '/v1/users?ids=a%2Cb',
      body: undefined,
    })
    expect(toHttpRequest('update-session-data', { data: { theme: 'dark' } }).body).toEqual({ theme: 'dark' })
  })
})

describe('an HTTP call', () => {
  it('an HTTP client keeps the session cookie and no other', async () => {
    const seen: (string | undefined)[] = []
    const url = await listen((request) => {
      seen.push(request.headers.cookie)
      return {
        status: 200,
        headers: { 'set-cookie': request.method === 'POST' ? 'chorus_session=secret; HttpOnly; Path=/' : 'other=1' },
        body: {},
      }
    })
    const saved: unknown[] = []
    const cookieJar = new CookieJar({}, (cookies) => saved.push(cookies))
    const api = createHttpApi({ url, fetch, cookieJar })
    await api.call('sign-in', { handle: 'ada', password: 'correct horse' })
    await api.call('get-session', {})
    await api.call('get-session', {})
    expect(seen).toEqual([undefined, 'chorus_session=secret', 'chorus_session=secret'])
    expect(saved[0]).toEqual({ chorus_session: 'secret' })
  })

  it('[ACK2] every failed HTTP request rejects with the matching error code', async () => {
    const url = await listen((request) =>
      request.url === '/v1/session'
        ? {
            status: 429,
            headers: { 'retry-after': '3' },
            body: { code: 'rate-limited', detail: 'unable to sign in; too often' },
          }
        : { status: 502, body: '<html>' },
    )
    const api = createHttpApi({ url, fetch })
    const limited = await api.call('sign-in', { handle: 'a', password: 'b' }).catch((error: unknown) => error)
    expect(limited).toMatchObject({
      code: 'rate-limited',
      retryAfterMs: 3_000,
      message: 'unable to sign in; too often',
    })
    // After an error response from a proxy it is unknown whether the server made the change. Only a
    // read is certain to change nothing.
    await expect(api.call('list-sessions', {})).rejects.toMatchObject({ code: 'unavailable' })
    await expect(api.call('update-profile', { name: 'A' })).rejects.toMatchObject({ code: 'unknown' })

    const nobody = createHttpApi({ url: 'http://127.0.0.1:1', fetch })
    await expect(nobody.call('list-sessions', {})).rejects.toMatchObject({ code: 'unavailable' })
    await expect(nobody.call('sign-out', {})).rejects.toBeInstanceOf(ChorusError)
    await expect(nobody.call('sign-out', {})).rejects.toMatchObject({ code: 'unknown' })
  })

  /** Creates a response whose body arrives in pieces, when the test sends them. */
  function createSlowAnswer() {
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined
    const body = new ReadableStream<Uint8Array>({
      start: (started) => {
        controller = started
      },
    })
    const fetchSlowly: typeof fetch = (_input, init) => {
      init?.signal?.addEventListener('abort', () => controller?.error(new Error('aborted')))
      return Promise.resolve(new Response(body))
    }
    return {
      fetch: fetchSlowly,
      write: (text: string) => controller?.enqueue(new TextEncoder().encode(text)),
      end: () => controller?.close(),
    }
  }

  it('an HTTP response may take any time, as long as data keeps arriving', async () => {
    const clock = new ManualClock()
    const slow = createSlowAnswer()
    const api = createHttpApi({ url: 'http://x', fetch: slow.fetch, clock })
    const answer = api.call('list-sessions', {})
    await settle()
    for (const piece of ['{"sess', 'ions"', ':', '["é', '"]}']) {
      await clock.advance(requestTimeoutMs - 1)
      slow.write(piece)
      await settle()
    }
    slow.end()
    expect(await answer).toEqual({ sessions: ['é'] })
    expect(clock.timers).toBe(0)
  })

  it('an HTTP request fails when its response body stops arriving', async () => {
    const clock = new ManualClock()
    const slow = createSlowAnswer()
    const api = createHttpApi({ url: 'http://x', fetch: slow.fetch, clock })
    const answer = api.call('list-sessions', {}).catch((error: unknown) => error)
    await settle()
    slow.write('{"sess')
    await clock.advance(requestTimeoutMs + 1)
    expect(await answer).toMatchObject({ code: 'unavailable', message: expect.stringContaining('in time') })
    expect(clock.timers).toBe(0)
  })

  it('a failed HTTP request reports its real cause', async () => {
    const of = async (answer: typeof fetch, name: 'list-sessions' | 'sign-out'): Promise<unknown> =>
      createHttpApi({ url: 'http://x', fetch: answer })
        .call(name, {})
        .catch((error: unknown) => error)
    expect(await of(() => Promise.resolve(new Response('<html>')), 'list-sessions')).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('the response could not be read'),
    })
    expect(await of(() => Promise.reject(new TypeError('blocked by CORS')), 'sign-out')).toMatchObject({
      code: 'unknown',
      message: 'unable to sign-out; the server could not be reached (blocked by CORS)',
    })
  })

  it('cookies expire by the server’s clock, and Max-Age wins over Expires', () => {
    const jar = new CookieJar({}, () => undefined)
    const keptAfter = (cookie: string, date?: string): string | undefined => {
      jar.restore({})
      jar.store(new Response(null, { headers: { 'set-cookie': cookie, ...(date !== undefined && { date }) } }))
      return jar.header
    }
    const day = (days: number): string => new Date(Date.now() + days * 86_400_000).toUTCString()
    const kept = 'chorus_session=s'
    expect(keptAfter(`${kept}; Expires=${day(30)}`)).toBe(kept)
    expect(keptAfter(`${kept}; Expires=${day(-1)}`)).toBeUndefined()
    // The device's clock is 400 days ahead, or the server's clock is behind.
    expect(keptAfter(`${kept}; Expires=${day(-370)}; Path=/`, day(-400))).toBe(kept)
    expect(keptAfter(`${kept}; Expires=${day(370)}`, day(400))).toBeUndefined()
    expect(keptAfter(`${kept}; Max-Age=60; Expires=${day(-1)}`)).toBe(kept)
    expect(keptAfter(`${kept}; Max-Age=0; Expires=${day(1)}`)).toBeUndefined()
    expect(keptAfter(`${kept}; Max-Age=soon`)).toBe(kept)
  })

  it('an HTTP client reads cookies even if `fetch` has no `getSetCookie`', () => {
    const jar = new CookieJar({}, () => undefined)
    const lines = 'theme=dark; Expires=Wed, 21 Oct 2026 07:28:00 GMT, chorus_session=a/b+c=; Path=/; Max-Age=60'
    const headers = { get: (name: string) => (name === 'set-cookie' ? lines : null) }
    jar.store({ headers } as unknown as Response)
    expect(jar.header).toBe('chorus_session=a/b+c=')
  })

  it('HTTP requests go below the path of the server URL', async () => {
    const seen: string[] = []
    const answer: typeof fetch = (input) => {
      seen.push(input as string)
      return Promise.resolve(Response.json({}))
    }
    for (const url of ['http://x/chat', 'http://x/chat/', 'http://x', 'http://x/']) {
      await createHttpApi({ url, fetch: answer }).call('list-sessions', {})
    }
    expect(seen).toEqual([
      'http://x/chat/v1/sessions',
      'http://x/chat/v1/sessions',
      'http://x/v1/sessions',
      'http://x/v1/sessions',
    ])
    for (const url of ['', 'chat', 'ws://x', 'ftp://x', 'http://x/?a=1', 'http://u:p@x', 'http://x/#a', 'null']) {
      expect(() => createChatClient({ url })).toThrow(/^unable to make client; ".*" is not an http or https address/)
    }
  })

  it('[LIM2] `Retry-After` is read as seconds or as a date', () => {
    expect(parseRetryAfterMs('2')).toBe(2_000)
    expect(parseRetryAfterMs(new Date(Date.now() + 60_000).toUTCString())).toBeGreaterThan(50_000)
    const served = new Date('2020-01-01T00:00:00Z')
    expect(parseRetryAfterMs(new Date(served.getTime() + 5_000).toUTCString(), served.toUTCString())).toBe(5_000)
    expect(parseRetryAfterMs('soon')).toBeUndefined()
    expect(parseRetryAfterMs(null)).toBeUndefined()
  })
})
