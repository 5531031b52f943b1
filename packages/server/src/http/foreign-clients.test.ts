/**
 * Tests what HTTP clients in other languages do by themselves: they quote cookies, send OPTIONS,
 * use ETags and accept compressed responses.
 */
import { gunzipSync } from 'node:zlib'
import { Signer } from '@fastify/cookie'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTestDatabase, type TestDatabase } from '../database/testing/open-test-database.ts'
import { acceptsGzip, compressionLimits } from './compress-answers.ts'
import { OpenRequests, openRequestLimits } from './open-requests.ts'
import { startTestApp, type TestApp } from './testing/start-test-app.ts'

const conversation = '01900000-0000-7000-8000-000000000001'
const text = 'a page that compresses well '.repeat(1_000)

let store: TestDatabase
let app: TestApp
let cookie: string

beforeAll(async () => {
  store = await openTestDatabase('embedded')
  app = await startTestApp(store.database, {
    handlers: {
      'list-messages': async () => ({ messages: [{ text }], seq: 1, hasBefore: false, hasAfter: false }) as never,
      'list-members': async () => ({ members: [] }),
    },
  })
  cookie = (await app.signUp('foreign')).cookie
})

afterAll(async () => {
  await app.close()
  await store.close()
})

const get = (url: string, headers: Record<string, string> = {}) =>
  app.ask('GET', url, undefined, { cookie, ...headers })

describe('the session cookie over HTTP', () => {
  it('accepts the session cookie in double quotes and in both base64 alphabets', async () => {
    const [secret] = await store.database.query<{ value: string }>({
      text: `select value from settings where key = 'cookie-secret'`,
    })
    const older = new Signer(secret!.value)
    for (let count = 0; count < 20; count++) {
      const { cookie: fresh } = await app.signUp(`quoted${count}`)
      const [name, value = ''] = fresh.split('=', 2) as [string, string]
      expect(value).toMatch(/^[\w.-]+$/)
      const old = older.sign(value.slice(0, value.lastIndexOf('.')))
      for (const sent of [value, `"${value}"`, old, `"${old}"`, `"${encodeURIComponent(old)}"`]) {
        const response = await get('/v1/session', { cookie: `other="1"; ${name}=${sent}` })
        expect([response.statusCode, response.headers['set-cookie']]).toEqual([200, undefined])
      }
    }
  })
})

describe('wrong methods and unknown paths', () => {
  it.each([
    ['POST', '/livez', 'GET, HEAD, OPTIONS'],
    ['PUT', '/', 'GET, HEAD, OPTIONS'],
    ['DELETE', '/v1/users', 'GET, HEAD, OPTIONS, POST'],
    ['DELETE', '/v1/users/me', 'GET, HEAD, OPTIONS, PATCH'],
    ['POST', '/v1/session/data?x=1', 'GET, HEAD, OPTIONS, PATCH'],
    ['PATCH', `/v1/conversations/${conversation}/messages`, 'GET, HEAD, OPTIONS, POST'],
    ['GET', `/v1/conversations/${conversation}/messages/1/reactions/x`, 'DELETE, OPTIONS, PUT'],
    ['HEAD', `/v1/conversations/${conversation}/read`, 'OPTIONS, PUT'],
    ['POST', '/v1/openapi.json', 'GET, HEAD, OPTIONS'],
  ] as const)('refuses %s %s with 405 and Allow', async (method, url, allow) => {
    const response = await app.ask(method, url)
    expect([response.statusCode, response.headers.allow]).toEqual([405, allow])
    if (method !== 'HEAD') expect(response.json()).toMatchObject({ status: 405, retry: 'never' })
    const options = await app.ask('OPTIONS', url)
    expect([options.statusCode, options.headers.allow, options.body]).toEqual([204, allow, ''])
  })

  it.each(['/v1/nothing', '/v1/users/a/b', '/v1/session/', '/metrics'])(
    'answers 404 for the unknown path %s',
    async (url) => {
      for (const method of ['POST', 'OPTIONS', 'GET'] as const)
        expect((await app.ask(method, url)).statusCode).toBe(404)
    },
  )
})

describe('the OpenAPI document over HTTP', () => {
  it('[LIM1] sends every client the same OpenAPI document, whatever the Host header', async () => {
    const first = await app.ask('GET', '/v1/openapi.json')
    const other = await app.ask('GET', '/v1/openapi.json', undefined, { host: 'evil.example' })
    expect(first.json()).toMatchObject({ servers: [{ url: '/' }] })
    expect(other.rawPayload.equals(first.rawPayload)).toBe(true)
    expect(other.headers.etag).toBe(first.headers.etag)
  })

  it('compresses the OpenAPI document and revalidates it by ETag', async () => {
    const { headers, rawPayload } = await app.ask('GET', '/v1/openapi.json')
    const etag = String(headers.etag)
    expect(headers['cache-control']).toBe('no-cache')
    for (const known of [etag, etag.replace('W/', ''), `"x", ${etag}`, '*']) {
      const response = await app.ask('GET', '/v1/openapi.json', undefined, { 'if-none-match': known })
      expect([response.statusCode, response.body, response.headers.etag]).toEqual([304, '', etag])
    }
    const changed = await app.ask('GET', '/v1/openapi.json', undefined, { 'if-none-match': '"x"' })
    expect(changed.statusCode).toBe(200)
    const packed = await app.ask('GET', '/v1/openapi.json', undefined, { 'accept-encoding': 'gzip' })
    expect(packed.headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(packed.rawPayload).equals(rawPayload)).toBe(true)
  })

  it('[LIM1] limits requests for the OpenAPI document by address', async () => {
    const other = await startTestApp(store.database, { environment: { LIMIT_REQUESTS: '5' } })
    const statuses = []
    for (let count = 0; count < 8; count++) statuses.push((await other.ask('GET', '/v1/openapi.json')).statusCode)
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429, 429])
    expect((await other.ask('GET', '/livez')).statusCode).toBe(200)
    await other.close()
  })
})

describe('compression of large responses', () => {
  const page = `/v1/conversations/${conversation}/messages`

  it('compresses large responses for clients that accept gzip', async () => {
    const plain = await get(page)
    expect([plain.headers['content-encoding'], plain.headers.vary]).toEqual([undefined, 'Origin, Accept-Encoding'])
    const packed = await get(page, { 'accept-encoding': 'br, gzip;q=0.5' })
    expect(packed.headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(packed.rawPayload).toString()).toBe(plain.body)
    expect(Number(packed.headers['content-length'])).toBe(packed.rawPayload.length)
    const refused = await get(page, { 'accept-encoding': 'gzip;q=0, br' })
    expect(refused.headers['content-encoding']).toBeUndefined()
  })

  it('leaves small responses, errors and HEAD uncompressed', async () => {
    const gzip = { 'accept-encoding': 'gzip' }
    expect((await get(`/v1/conversations/${conversation}/members`, gzip)).headers['content-encoding']).toBeUndefined()
    expect((await get('/v1/nothing', gzip)).headers['content-encoding']).toBeUndefined()
    const head = await app.ask('HEAD', page, undefined, { cookie, ...gzip })
    expect([head.statusCode, head.headers['content-encoding'], head.body]).toEqual([200, undefined, ''])
  })

  it('[LIM1] compresses only a few responses at the same time', async () => {
    const responses = await Promise.all(Array.from({ length: 20 }, () => get(page, { 'accept-encoding': 'gzip' })))
    for (const { headers, rawPayload } of responses) {
      const body = headers['content-encoding'] === 'gzip' ? gunzipSync(rawPayload) : rawPayload
      expect(JSON.parse(body.toString())).toMatchObject({ messages: [{ text }] })
    }
    const packed = responses.filter(({ headers }) => headers['content-encoding'] === 'gzip').length
    expect(packed).toBeGreaterThanOrEqual(Math.min(1, compressionLimits.atOnceMax))
  })

  it.each([
    ['gzip', true],
    ['GZIP, deflate', true],
    ['*', true],
    ['*;q=0.1', true],
    ['identity', false],
    ['gzip; q=0', false],
    ['gzip;q=0, *', false],
    ['gzip;q=x', false],
    ['', false],
    [undefined, false],
  ])('decides from Accept-Encoding %j whether the client accepts gzip', (header, accepts) => {
    expect(acceptsGzip(header)).toBe(accepts)
  })
})

describe('limits on open requests', () => {
  const unread = (bytes: number) => ({ unreadBytes: () => bytes })

  it('[SLOW1] [LIM1] limits open requests per client, and frees finished ones', () => {
    const open = new OpenRequests()
    const releases = Array.from({ length: openRequestLimits.clientMaxRequests }, () => open.admit('ada', unread(0)))
    expect(() => open.admit('ada', unread(0))).toThrow('too many requests are open')
    open.admit('ben', unread(0))
    releases[0]!()
    open.admit('ada', unread(0))
  })

  it('[SLOW1] refuses further responses to a client that does not read', () => {
    const open = new OpenRequests()
    for (let count = 0; count < 4; count++) open.admit('ada', unread(1_000_000))
    expect(() => open.admitResponse('ada', 300_000)).toThrow('have not been read')
    open.admitResponse('ada', 100_000)
    open.admitResponse('ben', 300_000)
  })

  it('[SLOW1] limits the unread response bytes of the whole server', () => {
    const open = new OpenRequests()
    for (let client = 0; client < 50; client++) open.admit(`client ${client}`, unread(1_000_000))
    expect(() => open.admitResponse('ada', 1_000_000)).toThrow('too many responses have not been read yet')
  })
})
