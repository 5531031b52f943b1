/**
 * Tests the HTTP layer: allowed origins, allowed bodies, and what a response contains and never
 * reveals.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ChorusError } from '@chorus/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CommandHandlers } from '../commands/command.ts'
import { DatabaseError } from '../database/database-errors.ts'
import { openTestDatabase } from '../database/testing/open-test-database.ts'
import type { TestDatabase } from '../database/testing/open-test-database.ts'
import { startTestApp } from './testing/start-test-app.ts'
import type { TestApp, TestAppOptions } from './testing/start-test-app.ts'

const conversation = '01900000-0000-7000-8000-000000000001'
const clientId = '01900000-0000-7000-8000-000000000002'
const messages = `/v1/conversations/${conversation}/messages`

let store: TestDatabase
let app: TestApp
let cookie: string
/** Inputs that reached one of the test's command handlers. */
const reached: unknown[] = []

function fail(error: () => unknown): Partial<CommandHandlers> {
  const reject = async (): Promise<never> => {
    throw error()
  }
  return { 'get-user': reject, 'send-message': reject }
}

beforeAll(async () => {
  store = await openTestDatabase('embedded')
  app = await startTestApp(store.database, {
    handlers: {
      'send-message': async (_context, input) => {
        reached.push(input)
        const isRepeated = input.text === 'again'
        return { message: { seq: 1 }, ...(isRepeated && { duplicate: true }) } as never
      },
      'list-messages': async (_context, input) => {
        reached.push(input)
        return { messages: [], seq: 0, hasBefore: false, hasAfter: false }
      },
      'add-reaction': async (_context, input) => {
        reached.push(input)
        return { seq: 1 }
      },
      'put-member': async (_context, input) => {
        reached.push(input)
        return { member: {} } as never
      },
      'remove-member': async () => null,
    },
  })
  cookie = (await app.signUp('edge')).cookie
})

afterAll(async () => {
  await app.close()
  await store.close()
})

async function withApp(options: TestAppOptions, use: (other: TestApp) => Promise<void>): Promise<void> {
  const other = await startTestApp(store.database, options)
  try {
    await use(other)
  } finally {
    await other.close()
  }
}

const ask: TestApp['ask'] = (method, url, body, headers = {}) => app.ask(method, url, body, { cookie, ...headers })

/** Expects an error response with this code, and that no command handler ran. */
async function expectRefused(code: string, asked: ReturnType<TestApp['ask']>): Promise<void> {
  const before = reached.length
  const response = await asked
  expect(response.headers['content-type']).toBe('application/problem+json; charset=utf-8')
  expect(response.json()).toMatchObject({ code, status: response.statusCode, type: `urn:chorus:error:${code}` })
  expect(response.json().detail).toMatch(/^unable to .+; .+/)
  expect(reached.length).toBe(before)
}

describe('the origin of a request', () => {
  const foreign = [
    'https://evil.example',
    'null',
    'http://localhost:80.evil.example',
    'https://localhost:80',
    'http://localhost:81',
  ]

  it.each(foreign)('refuses a foreign Origin before anything else: %s', async (origin) => {
    for (const [method, url] of [
      ['POST', messages],
      ['POST', '/v1/session'],
      ['GET', '/v1/session'],
      ['GET', '/v1/nothing'],
      ['DELETE', '/v1/session'],
      ['GET', '/'],
    ] as const) {
      await expectRefused('forbidden', ask(method, url, method === 'POST' ? '{broken' : undefined, { origin }))
    }
    expect((await ask('GET', '/v1/session')).statusCode).toBe(200)
  })

  it("a browser request without an Origin may only read, and only from the server's own pages", async () => {
    await expectRefused(
      'forbidden',
      ask('DELETE', '/v1/session', undefined, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }),
    )
    await expectRefused('forbidden', ask('GET', '/v1/session', undefined, { 'sec-fetch-site': 'cross-site' }))
    expect((await ask('GET', '/v1/session', undefined, { 'sec-fetch-site': 'same-origin' })).statusCode).toBe(200)
    expect(
      (await ask('GET', '/', undefined, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' })).statusCode,
    ).toBe(200)
  })

  it('accepts the origins of its own host, PUBLIC_URL and ALLOWED_ORIGINS', async () => {
    const own = await ask('GET', '/v1/session', undefined, { origin: 'http://localhost:80', host: 'localhost:80' })
    expect(own.statusCode).toBe(403)
    const exact = await ask('GET', '/v1/session', undefined, { origin: 'http://localhost', host: 'localhost:80' })
    expect([exact.statusCode, exact.headers['access-control-allow-origin']]).toEqual([200, undefined])
    await withApp(
      { environment: { PUBLIC_URL: 'https://chat.example', ALLOWED_ORIGINS: 'https://app.example' } },
      async (other) => {
        const from = (origin: string, method: 'GET' | 'OPTIONS' = 'GET') =>
          other.ask(method, '/v1/session', undefined, { origin, 'access-control-request-method': 'POST' })
        expect((await from('https://chat.example')).headers['access-control-allow-origin']).toBeUndefined()
        const allowed = await from('https://app.example')
        expect(allowed.headers).toMatchObject({
          'access-control-allow-origin': 'https://app.example',
          'access-control-allow-credentials': 'true',
        })
        expect((await from('https://app.example', 'OPTIONS')).statusCode).toBe(204)
        const evil = await from('https://evil.example', 'OPTIONS')
        expect(evil.statusCode).toBe(403)
        expect(evil.headers['access-control-allow-origin']).toBeUndefined()
      },
    )
  })

  it('ignores a forged X-Forwarded-* header', async () => {
    const spoofed = { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https', 'x-forwarded-for': '1.2.3.4' }
    await expectRefused(
      'forbidden',
      ask('GET', '/v1/session', undefined, { ...spoofed, origin: 'https://evil.example' }),
    )
    await withApp({ environment: { LIMIT_SIGN_INS_ADDRESS: '2' } }, async (other) => {
      const statuses: number[] = []
      for (let n = 0; n < 3; n++) {
        const response = await other.ask(
          'POST',
          '/v1/session',
          { handle: `h${n}`, password: 'x' },
          { 'x-forwarded-for': `1.2.3.${n}` },
        )
        statuses.push(response.statusCode)
      }
      expect(statuses).toEqual([401, 401, 429])
    })
    await withApp({ environment: { LIMIT_SIGN_INS_ADDRESS: '2', TRUSTED_PROXIES: '127.0.0.1' } }, async (other) => {
      const statuses: number[] = []
      for (let n = 0; n < 3; n++) {
        const response = await other.ask(
          'POST',
          '/v1/session',
          { handle: `i${n}`, password: 'x' },
          { 'x-forwarded-for': `1.2.3.${n}` },
        )
        statuses.push(response.statusCode)
      }
      expect(statuses).toEqual([401, 401, 401])
    })
  })
})

describe('the body of a request', () => {
  const good = { clientId, text: 'hello' }

  it('accepts only JSON content types for a body', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/octet-stream',
      'application/json; charset=utf-16',
      'nonsense',
    ]) {
      await expectRefused('unsupported', ask('POST', messages, JSON.stringify(good), { 'content-type': type }))
    }
    const untyped = app.app.inject({
      method: 'POST',
      url: messages,
      headers: { cookie, 'content-type': '' },
      payload: JSON.stringify(good),
    })
    await expectRefused('unsupported', untyped)
    await expectRefused('unsupported', ask('POST', messages, good, { 'content-encoding': 'gzip' }))
    expect(
      (await ask('POST', messages, good, { 'content-type': 'Application/JSON; charset="UTF-8"' })).statusCode,
    ).toBe(201)
  })

  it.each([
    ['no JSON', '{"clientId"'],
    ['a prototype', `{"clientId":"${clientId}","text":"x","data":{"a":{"__proto__":{"isAdmin":true}}}}`],
    ['a constructor', `{"clientId":"${clientId}","text":"x","data":{"constructor":{"prototype":{}}}}`],
    ['depth', `{"clientId":"${clientId}","text":"x","data":${'['.repeat(10_000)}${']'.repeat(10_000)}}`],
    ['a key twice', `{"clientId":"${clientId}","text":"x","text":"y"}`],
    ['an infinite number', `{"clientId":"${clientId}","text":"x","replyTo":1e400}`],
    ['a number beyond 2^53', `{"clientId":"${clientId}","text":"x","replyTo":9007199254740993}`],
    ['minus zero as a seq', `{"clientId":"${clientId}","text":"x","replyTo":-0}`],
    ['a lone surrogate', `{"clientId":"${clientId}","text":"\\ud800"}`],
    ['NUL', `{"clientId":"${clientId}","text":"a\\u0000b"}`],
    ['a byte order mark', `\ufeff{"clientId":"${clientId}","text":"x"}`],
    ['an unknown field', `{"clientId":"${clientId}","text":"x","seq":7}`],
    ['another sender', `{"clientId":"${clientId}","text":"x","sender":"${conversation}"}`],
    ['a field of the path', `{"clientId":"${clientId}","text":"x","conversation":"${conversation}"}`],
    ['an object for a string', `{"clientId":"${clientId}","text":{"$gt":""}}`],
    ['an array for a string', `{"clientId":["${clientId}"],"text":"x"}`],
    ['an array', '[]'],
    ['a string', '"x"'],
    ['null fields', `{"clientId":null,"text":null}`],
    ['nothing', ''],
  ])('refuses a body with %s', async (_what, body) => {
    await expectRefused('invalid', ask('POST', messages, body))
  })

  it('refuses a body that is not UTF-8', async () => {
    const payload = Buffer.concat([
      Buffer.from(`{"clientId":"${clientId}","text":"`),
      Buffer.from([0xc0, 0xaf]),
      Buffer.from('"}'),
    ])
    const headers = { cookie, 'content-type': 'application/json' }
    await expectRefused('invalid', app.app.inject({ method: 'POST', url: messages, headers, payload }))
  })

  it('refuses a request body over a size limit as too large', async () => {
    await expectRefused('too-large', ask('POST', messages, { clientId, text: 'x'.repeat(131_072) }))
    await expectRefused('too-large', ask('POST', messages, { clientId, text: 'x'.repeat(20_001) }))
    await expectRefused('too-large', ask('POST', messages, { clientId, text: 'x', data: { a: 'x'.repeat(8_192) } }))
    const manyKeys = `{${Array.from({ length: 50_000 }, (_, n) => `"k${n}":0`).join(',')}}`
    await expectRefused('too-large', ask('POST', messages, manyKeys))
    await expectRefused('too-large', ask('POST', '/v1/session', { handle: 'edge', password: 'x'.repeat(1_000_000) }))
    await expectRefused('too-large', ask('POST', '/v1/session', { handle: 'edge', password: 'x'.repeat(1_000) }))
    expect((await ask('POST', messages, { clientId, text: 'x'.repeat(20_000) })).statusCode).toBe(201)
  })

  it('accepts a missing optional body, and refuses a body where none is used', async () => {
    expect((await ask('PUT', `/v1/conversations/${conversation}/members/me`)).statusCode).toBe(200)
    expect((await ask('DELETE', `/v1/conversations/${conversation}/members/me`, {})).statusCode).toBe(204)
    await expectRefused('invalid', ask('DELETE', `/v1/conversations/${conversation}/members/me`, { role: 'owner' }))
  })

  it('checks long strings of special characters quickly', async () => {
    const startMs = performance.now()
    for (const handle of [`${'a'.repeat(31)}!`, `${'a.'.repeat(16)}!`, `${'a'.repeat(50_000)}!`]) {
      const response = await ask('POST', '/v1/users', { handle, password: 'correct horse', name: 'x' })
      expect(response.statusCode).toBeGreaterThanOrEqual(400)
    }
    await ask('PATCH', '/v1/users/me', { avatar: `https://${'a'.repeat(50_000)}"` })
    await expectRefused(
      'invalid',
      ask('PUT', `${messages}/1/reactions/${encodeURIComponent('\u{1f468}\u200d'.repeat(10))}a`),
    )
    expect(performance.now() - startMs).toBeLessThan(2_000)
  })
})

describe('path and query of a request', () => {
  it('converts path and query fields to integers, text and lists', async () => {
    await ask('GET', `${messages}?before=12&limit=7`)
    expect(reached.at(-1)).toEqual({ conversation, before: 12, limit: 7 })
    await ask('GET', messages)
    expect(reached.at(-1)).toEqual({ conversation, limit: 50 })
    const family = '\u{1f468}\u200d\u{1f469}\u200d\u{1f467}\u200d\u{1f466}'
    expect((await ask('PUT', `${messages}/3/reactions/${encodeURIComponent(family)}`)).statusCode).toBe(200)
    expect(reached.at(-1)).toEqual({ conversation, seq: 3, emoji: family })
    await ask('GET', `/v1/conversations/${conversation.toUpperCase()}/messages`)
    expect(reached.at(-1)).toMatchObject({ conversation })
  })

  it.each([
    'limit=1e9',
    'limit=1000000000',
    'limit=0',
    'limit=-1',
    'limit=',
    'limit=1.5',
    'limit=0x10',
    'limit=07',
    'limit=1&limit=2',
    'after=-1',
    'before=0',
    'before=9007199254740993',
    'before=99999999999999999999999999',
    'before=1&after=1',
    'conversation=01900000-0000-7000-8000-000000000009',
    '__proto__=1',
    '__proto__[x]=1',
    'constructor=1',
    'token=abc',
    '_method=DELETE',
  ])('refuses the query ?%s', async (query) => {
    await expectRefused('invalid', ask('GET', `${messages}?${query}`))
  })

  it('refuses a list in the query that is longer than the limit', async () => {
    await expectRefused(
      'too-large',
      ask('GET', `/v1/users?ids=${Array.from({ length: 101 }, () => conversation).join(',')}`),
    )
    await expectRefused('invalid', ask('GET', '/v1/users?ids=1,2'))
  })

  it.each([
    '/v1/conversations/not-an-id/messages',
    `/v1/conversations/${conversation}%00/messages`,
    `${messages}/1e3`,
    `${messages}/-1`,
  ])('refuses the path %s', async (url) => {
    await expectRefused('invalid', ask('GET', url))
  })

  it('refuses a path that cannot be decoded', async () => {
    await expectRefused('invalid', ask('GET', '/v1/users/%E0%A4%A'))
  })

  it('reads no credentials from the query', async () => {
    const token = cookie.split('=')[1]!
    for (const query of [`token=${token}`, `cookie=${token}`, `chorus_session=${token}`, `access_token=${token}`]) {
      const response = await app.ask('GET', `/v1/session?${query}`)
      expect(response.statusCode).toBe(401)
    }
  })
})

describe('HTTP methods', () => {
  it('GET, HEAD and OPTIONS change nothing, even with a method override', async () => {
    const before = reached.length
    for (const method of ['HEAD', 'OPTIONS', 'GET'] as const) {
      await ask(method, '/v1/session', undefined, { 'x-http-method-override': 'DELETE', 'x-method-override': 'DELETE' })
      await ask(method, `${messages}/1/reactions/%F0%9F%91%8D`)
      await ask(method, '/v1/session?_method=DELETE')
    }
    await expectRefused('invalid', ask('POST', `${messages}?_method=DELETE`, { clientId, text: 'x' }))
    expect(reached.length).toBe(before)
    expect((await ask('GET', '/v1/session')).statusCode).toBe(200)
  })

  it('answers unknown methods and addresses with an error in JSON', async () => {
    for (const [method, url] of [
      ['GET', '/v1/nothing'],
      ['POST', '/v1/nothing'],
      ['DELETE', '/v1/users/me'],
      ['PATCH', messages],
      ['PUT', '/'],
      ['GET', '/v1'],
      ['GET', '/.git/config'],
      ['GET', '/debug'],
      ['GET', '/metrics'],
    ] as const) {
      await expectRefused('not-found', ask(method, url))
    }
  })
})

describe('HTTP responses', () => {
  it('answers 201 for a new message and 200 for a repeated one', async () => {
    expect((await ask('POST', messages, { clientId, text: 'new' })).statusCode).toBe(201)
    const repeated = await ask('POST', messages, { clientId, text: 'again' })
    expect([repeated.statusCode, repeated.json().duplicate]).toEqual([200, true])
  })

  it('sets the headers no-store, nosniff, frame-ancestors and no-referrer', async () => {
    for (const url of ['/v1/session', '/v1/nothing', '/']) {
      const { headers } = await ask('GET', url)
      expect(headers['x-content-type-options']).toBe('nosniff')
      expect(headers['referrer-policy']).toBe('no-referrer')
      expect(headers['content-security-policy']).toContain("default-src 'self'")
      // Pictures from another host are forbidden, because that host would learn the IP address of
      // every user who sees them.
      expect(headers['content-security-policy']).toContain("; img-src 'self' data: blob:; ")
      expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
      expect(headers['x-powered-by']).toBeUndefined()
    }
    expect((await ask('GET', '/v1/session')).headers['cache-control']).toBe('no-store')
    expect((await ask('GET', '/v1/nothing')).headers['cache-control']).toBe('no-store')
  })

  it('hides the details of an internal error, which go to the log', async () => {
    await withApp(
      { handlers: fail(() => new Error('secret detail', { cause: new Error('the cause') })) },
      async (other) => {
        const me = await other.signUp('failing')
        const read = await other.ask('GET', `/v1/users/${me.id}`, undefined, { cookie: me.cookie })
        expect([read.statusCode, read.json().code]).toEqual([503, 'unavailable'])
        const sent = await other.ask('POST', messages, { clientId, text: 'x' }, { cookie: me.cookie })
        expect([sent.statusCode, sent.json().code, sent.headers['retry-after']]).toEqual([504, 'unknown', '1'])
        expect(read.body + sent.body).not.toMatch(/secret|stack|at .*\.ts/)
        expect(other.logLines.join('')).toContain('secret detail')
        expect(other.logLines.join('')).toContain('the cause')
      },
    )
  })

  it('[ACK2] answers unavailable after a database error only if nothing was stored', async () => {
    const codes: unknown[] = []
    for (const kind of ['refused', 'retryable', 'lost', 'bug'] as const) {
      await withApp({ handlers: fail(() => new DatabaseError(kind, new Error('x'))) }, async (other) => {
        const me = await other.signUp(`db-${kind}`)
        const read = await other.ask('GET', `/v1/users/${me.id}`, undefined, { cookie: me.cookie })
        const sent = await other.ask('POST', messages, { clientId, text: 'x' }, { cookie: me.cookie })
        codes.push([kind, read.json().code, sent.json().code])
      })
    }
    expect(codes).toEqual([
      ['refused', 'unavailable', 'unavailable'],
      ['retryable', 'unavailable', 'unavailable'],
      ['lost', 'unavailable', 'unknown'],
      ['bug', 'unavailable', 'unknown'],
    ])
  })

  it('[ACK2] answers unavailable when the session cannot be checked', async () => {
    await withApp({}, async (other) => {
      const me = await other.signUp('asked-in-vain')
      const real = other.authenticator.recognise.bind(other.authenticator)
      other.authenticator.recognise = () => Promise.reject(new DatabaseError('lost', new Error('x')))
      for (const [method, body] of [
        ['GET', undefined],
        ['DELETE', undefined],
      ] as const) {
        const response = await other.ask(method, '/v1/session', body, { cookie: me.cookie })
        expect([response.statusCode, response.json().code]).toEqual([503, 'unavailable'])
        expect(response.headers['retry-after']).toBe('1')
      }
      other.authenticator.recognise = real
      expect((await other.ask('GET', '/v1/session', undefined, { cookie: me.cookie })).statusCode).toBe(200)
    })
  })

  it('answers 429 above a rate limit, until enough time has passed', async () => {
    await withApp(
      {
        environment: { LIMIT_SENDS: '1', LIMIT_REQUESTS: '3' },
        handlers: fail(() => new ChorusError('not-found', 'unable to x; y')),
      },
      async (other) => {
        const me = await other.signUp('hasty')
        const statuses: number[] = []
        for (let n = 0; n < 3; n++)
          statuses.push((await other.ask('POST', messages, { clientId, text: 'x' }, { cookie: me.cookie })).statusCode)
        for (let n = 0; n < 4; n++)
          statuses.push((await other.ask('GET', '/v1/session', undefined, { cookie: me.cookie })).statusCode)
        expect(statuses).toEqual([404, 404, 429, 200, 200, 200, 429])
        other.clock.advance(1_000)
        expect((await other.ask('GET', '/v1/session', undefined, { cookie: me.cookie })).statusCode).toBe(200)
      },
    )
  })

  it('keeps line breaks out of response headers', async () => {
    const response = await ask('GET', '/v1/nothing%0d%0aSet-Cookie:%20a=b')
    expect(response.headers['set-cookie']).toBeUndefined()
    expect(response.statusCode).toBe(404)
  })
})

describe('the endpoints for operators', () => {
  it('reports liveness, readiness and degraded parts', async () => {
    expect((await app.ask('GET', '/livez')).statusCode).toBe(200)
    const ready = await app.ask('GET', '/readyz')
    expect([ready.statusCode, ready.json()]).toEqual([200, { degraded: [] }])
    await withApp({ health: async () => ({ ready: false, degraded: ['database'] }) }, async (other) => {
      const response = await other.ask('GET', '/readyz')
      expect([response.statusCode, response.json()]).toEqual([503, { degraded: ['database'] }])
    })
  })

  it('counts requests in metrics by route, not by address', async () => {
    await ask('GET', messages)
    const text = await app.metrics.render()
    expect(text).toContain(
      'chorus_http_requests_total{method="GET",route="/v1/conversations/:conversation/messages",status="200"}',
    )
    expect(text).not.toContain(conversation)
  })
})

describe('the web application over HTTP', () => {
  it('serves build instructions while there is no build', async () => {
    const response = await app.ask('GET', '/', undefined, { accept: 'text/html' })
    expect([response.statusCode, response.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
    expect(response.body).toContain('npm run build')
  })

  it('serves the web application with compressed files and cache lifetimes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chorus-web-'))
    await mkdir(join(folder, 'assets'))
    await writeFile(join(folder, 'index.html'), '<!doctype html><title>Chorus</title>')
    await writeFile(join(folder, 'assets', 'app-1a2b.js'), 'plain')
    await writeFile(join(folder, 'assets', 'app-1a2b.js.br'), 'brotli')
    await writeFile(join(folder, 'assets', 'app-1a2b.js.map'), '{}')
    await writeFile(join(folder, '.env'), 'hush')
    await withApp({ webFolder: folder }, async (other) => {
      const get = (url: string, headers: Record<string, string> = {}) => other.ask('GET', url, undefined, headers)
      const asset = await get('/assets/app-1a2b.js', { 'accept-encoding': 'br' })
      expect([asset.body, asset.headers['content-encoding']]).toEqual(['brotli', 'br'])
      expect(asset.headers['cache-control']).toBe('public, max-age=31536000, immutable')
      expect(asset.headers['content-type']).toMatch(/javascript/)
      expect((await get('/assets/app-1a2b.js')).body).toBe('plain')
      for (const url of ['/', '/c/01900000', '/settings?tab=1']) {
        const page = await get(url, { accept: 'text/html,*/*' })
        expect([url, page.statusCode, page.headers['cache-control']]).toEqual([url, 200, 'no-cache'])
        expect(page.body).toContain('Chorus')
      }
      for (const url of [
        '/assets/app-1a2b.js.map',
        '/assets/gone.js',
        '/.env',
        '/..%2f..%2fetc%2fpasswd',
        '/v1/nothing',
        '/socket.io/x',
        '/favicon.ico',
      ]) {
        const missing = await get(url, { accept: 'text/html,*/*' })
        expect([url, missing.statusCode >= 400 && missing.statusCode < 500]).toEqual([url, true])
        expect(missing.body).not.toContain('hush')
      }
      expect((await get('/c/1', { accept: 'application/json' })).statusCode).toBe(404)
      expect((await other.ask('POST', '/c/1', undefined, { accept: 'text/html' })).statusCode).toBe(404)
    })
    await rm(folder, { recursive: true })
  })
})

describe('HTTP over a real port', () => {
  let port: number

  beforeAll(async () => {
    await app.app.listen({ host: '127.0.0.1', port: 0 })
    port = (app.app.server.address() as AddressInfo).port
  })

  /** Sends these bytes and returns everything received until the server closes the socket. */
  async function talk(bytes: string | Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
      let answer = ''
      socket.on('data', (chunk) => (answer += chunk.toString()))
      socket.on('close', () => resolve(answer))
      socket.on('error', reject)
    })
  }

  it.each([
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['no Host', 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['two lengths', 'POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', 400],
    [
      'length and chunks',
      'POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    [
      'an odd transfer encoding',
      'POST /v1/session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['CR in a header', 'GET /livez HTTP/1.1\r\nHost: x\r\nX-A: b\rSet-Cookie: c\r\n\r\n', 400],
    ['headers without end', `GET /livez HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ['many headers', `GET /livez HTTP/1.1\r\nHost: x\r\n${'X-A: bbbbbbbbbbbb\r\n'.repeat(1_500)}\r\n`, 431],
  ])('refuses %s, closes the socket and keeps running', async (_what, bytes, status) => {
    const answer = await talk(bytes)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    if (status !== 400 || bytes.includes('Host')) expect(answer).toContain('application/problem+json')
    const alive = await talk('GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    expect(alive).toMatch(/^HTTP\/1.1 200 /)
  })

  it('limits the time to receive headers and body, and the time without traffic', () => {
    const { server } = app.app
    expect([server.headersTimeout, server.requestTimeout, server.timeout, server.keepAliveTimeout]).toEqual([
      10_000, 20_000, 60_000, 65_000,
    ])
    expect(server.maxConnections).toBeGreaterThan(0)
  })

  it('stops reading an endless body at the size limit', async () => {
    const outcome = await new Promise<number>((resolve, reject) => {
      const request = httpRequest(
        { port, path: messages, method: 'POST', headers: { cookie, 'content-type': 'application/json' } },
        (response) => {
          resolve(response.statusCode ?? 0)
          request.destroy()
        },
      )
      request.on('error', reject)
      const write = (): void => {
        while (!request.destroyed && request.write('x'.repeat(16_384)));
      }
      request.on('drain', write)
      write()
    })
    expect(outcome).toBe(413)
  })
})
