/** The HTTP side: the table of routes against the definitions, errors, cookies. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ChorusError, commands, type CommandName } from '@chorus/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { CookieJar } from './cookie-jar.ts'
import { createHttpApi, parseRetryAfterMs, toHttpRequest } from './http-api.ts'
import { httpRoutes } from './http-routes.ts'

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

describe('the table of routes', () => {
  it('says what the command definitions say', () => {
    expect(Object.keys(httpRoutes).sort()).toEqual(Object.keys(commands).sort())
    for (const [name, route] of Object.entries(httpRoutes)) {
      const { method, path, bodyIs } = commands[name as CommandName].route as {
        method: string
        path: string
        bodyIs?: string
      }
      expect([name, ...route.split(' ')]).toEqual([name, method, path, ...(bodyIs === undefined ? [] : [bodyIs])])
    }
  })

  it('puts fields where they belong', () => {
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

describe('calls', () => {
  it('keep the session cookie, and only that', async () => {
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

  it('[ACK2] turn problems into errors of the catalogue, and silence into `unknown` or `unavailable`', async () => {
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
    // What stands in between says nothing certain; only a read leaves nothing behind in any case.
    await expect(api.call('list-sessions', {})).rejects.toMatchObject({ code: 'unavailable' })
    await expect(api.call('update-profile', { name: 'A' })).rejects.toMatchObject({ code: 'unknown' })

    const nobody = createHttpApi({ url: 'http://127.0.0.1:1', fetch })
    await expect(nobody.call('list-sessions', {})).rejects.toMatchObject({ code: 'unavailable' })
    await expect(nobody.call('sign-out', {})).rejects.toBeInstanceOf(ChorusError)
    await expect(nobody.call('sign-out', {})).rejects.toMatchObject({ code: 'unknown' })
  })

  it('[LIM2] read Retry-After in both of its forms', () => {
    expect(parseRetryAfterMs('2')).toBe(2_000)
    expect(parseRetryAfterMs(new Date(Date.now() + 60_000).toUTCString())).toBeGreaterThan(50_000)
    expect(parseRetryAfterMs('soon')).toBeUndefined()
    expect(parseRetryAfterMs(null)).toBeUndefined()
  })
})
