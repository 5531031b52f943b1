/**
 * User tokens at a real server, over every transport: Socket.IO, event streams and REST. Forged and
 * hostile tokens get errors of the catalogue, and revocations reach open connections.
 */
import { execFileSync } from 'node:child_process'
import { createHmac, createPublicKey, randomUUID } from 'node:crypto'
import {
  type CreatedKey,
  createApiKey,
  encodeTokenPart,
  HttpUser,
  makeClaims,
  makeKeyPair,
  makeSecretKey,
  runKeys,
  type ServerProcess,
  signToken,
  SocketUser,
  SseClient,
  waitForFact,
} from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let key: CreatedKey
let http: HttpUser
let count = 0

beforeAll(async () => {
  server = await startQuickServer({
    env: { LIMIT_REQUESTS: '0', LIMIT_SIGN_INS: '0', LIMIT_CONNECTIONS: '0', LOG_LEVEL: 'debug' },
  })
  key = await createApiKey(server.database)
  http = HttpUser.stranger(server.url)
})

afterAll(async () => {
  await server.remove()
})

const tokenFor = (sub: string, claims: object = {}, api = key): string =>
  signToken(api.signing, { ...makeClaims(sub), ...claims })
const nextSub = (): string => `customer-${++count}`
const bearer = (token: string, device?: string): Record<string, string> => ({
  authorization: `Bearer ${token}`,
  ...(device !== undefined && { 'chorus-device': device }),
})

interface Problem {
  readonly code: string
  readonly detail: string
}

async function expectRefused(token: string, reason: string, code = 'unauthenticated'): Promise<void> {
  const answer = await http.call<Problem>('GET', '/v1/conversations', undefined, { headers: bearer(token) })
  expect(answer.body).toMatchObject({ code, detail: expect.stringContaining(reason) as string })
  await expect(SocketUser.connect(server.url, { client: { auth: { token } } })).rejects.toMatchObject({
    message: expect.stringContaining(reason) as string,
    data: { code },
  })
}

describe('a valid token', () => {
  it.each(['websocket', 'polling'] as const)('[TOKEN1] connects a stock client over %s', async (transport) => {
    const token = tokenFor(nextSub(), { name: 'Ada', avatar: 'https://shop.example/ada.png' })
    const user = await SocketUser.connect(server.url, { transports: [transport], client: { auth: { token } } })
    expect(user.named('ready')).toMatchObject([
      { user: { name: 'Ada', handle: expect.stringMatching(/^u-[a-z]{10}$/) as string } },
    ])
    user.close()
  })

  it('[TOKEN1] may be made by openssl', async () => {
    const token = execFileSync(
      'sh',
      [
        '-c',
        `b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
         now=$(date +%s)
         head=$(printf '{"alg":"HS256","kid":"%s"}' "$KEY" | b64)
         claims=$(printf '{"sub":"order 7/ada","iat":%d,"exp":%d}' $now $((now + 300)) | b64)
         printf '%s.%s.%s' "$head" "$claims" "$(printf '%s.%s' "$head" "$claims" |
           openssl dgst -sha256 -hmac "$SECRET" -binary | b64)"`,
      ],
      { env: { PATH: process.env.PATH, KEY: key.id, SECRET: key.signingSecret }, encoding: 'utf8' },
    )
    const user = await SocketUser.connect(server.url, { client: { auth: { token } } })
    expect(await user.command('status', { status: 'away' })).toEqual({ ok: true })
    user.close()
  })

  it('[TOKEN1] sends, reads and streams as one user', async () => {
    const [ada, ben] = [tokenFor(nextSub(), { name: 'Ada' }), tokenFor(nextSub(), { name: 'Ben' })]
    const stream = await SseClient.open(server.url, { headers: bearer(ben) })
    const ready = await stream.waitFor(({ name }) => name === 'ready')
    const { user } = ready.data as { user: { id: string } }
    const made = await http.expect<{ conversation: { id: string } }>(
      201,
      'POST',
      '/v1/conversations',
      { kind: 'direct', members: [user.id] },
      { headers: bearer(ada) },
    )
    const path = `/v1/conversations/${made.body.conversation.id}/messages`
    const message = { clientId: randomUUID(), text: 'hello' }
    await http.expect(201, 'POST', path, message, { headers: bearer(ada) })
    await stream.waitFor(({ name, data }) => name === 'changes' && JSON.stringify(data).includes('hello'))
    const page = await http.expect<{ messages: unknown[] }>(200, 'GET', path, undefined, { headers: bearer(ben) })
    expect(page.body.messages).toMatchObject([{ text: 'hello' }])
    await http.expect(404, 'GET', path, undefined, { headers: bearer(tokenFor(nextSub())) })
    stream.close()
  })

  it('[TOKEN4] keeps the session of its device over new tokens and transports', async () => {
    const [sub, device] = [nextSub(), randomUUID()]
    const headers = bearer(tokenFor(sub), device.toUpperCase())
    await http.expect(200, 'PATCH', '/v1/session/data', { cart: 3 }, { headers })
    const later = tokenFor(sub, { iat: Math.floor(Date.now() / 1_000) + 1 })
    const read = await http.expect(200, 'GET', '/v1/session/data', undefined, { headers: bearer(later, device) })
    expect(read.body).toEqual({ data: { cart: 3 } })
    const user = await SocketUser.connect(server.url, { client: { auth: { token: later, device } } })
    const { body } = await http.expect<{ session: { id: string } }>(200, 'GET', '/v1/session', undefined, { headers })
    expect(user.named('ready')).toMatchObject([{ session: { id: body.session.id, current: true } }])
    user.close()
  })

  it('[TOKEN4] has no session over REST without a device', async () => {
    const headers = bearer(tokenFor(nextSub()))
    for (const [method, path, body] of [
      ['GET', '/v1/session/data', undefined],
      ['PATCH', '/v1/session/data', { cart: 3 }],
      ['GET', '/v1/session', undefined],
      ['DELETE', '/v1/session', undefined],
      ['PUT', '/v1/status', { status: 'away' }],
    ] as const) {
      const answer = await http.call<Problem>(method, path, body, { headers })
      expect([path, answer.status, answer.body.code]).toEqual([path, 400, 'invalid'])
    }
    const listed = await http.expect(200, 'GET', '/v1/sessions', undefined, { headers })
    expect(listed.body).toEqual({ sessions: [] })
  })

  it('[TOKEN4] without a device has a session that ends with its connection', async () => {
    const headers = bearer(tokenFor(nextSub()))
    const list = async (): Promise<number> =>
      (await http.expect<{ sessions: unknown[] }>(200, 'GET', '/v1/sessions', undefined, { headers })).body.sessions
        .length
    const stream = await SseClient.open(server.url, { headers })
    const user = await SocketUser.connect(server.url, { client: { auth: { token: headers.authorization!.slice(7) } } })
    expect(await list()).toBe(2)
    stream.close()
    user.close()
    await waitForFact(async () => (await list()) === 0, { what: 'the end of both sessions', timeoutMs: 5_000 })
  })

  it('[ACL2] does not outlive the sign-out of its session', async () => {
    const [token, device] = [tokenFor(nextSub()), randomUUID()]
    const user = await SocketUser.connect(server.url, { client: { auth: { token, device } } })
    await http.expect(204, 'DELETE', '/v1/session', undefined, { headers: bearer(token, device) })
    await user.waitFor(({ name, payload }) => name === 'closing' && (payload as { code: string }).code === 'revoked')
    await http.expect(401, 'GET', '/v1/session', undefined, { headers: bearer(token, device) })
    await expect(SocketUser.connect(server.url, { client: { auth: { token, device } } })).rejects.toThrow('signed out')
  })
})

describe('a request with a token', () => {
  it('[TOKEN1] ignores cookies, and sets none', async () => {
    const cookieUser = await HttpUser.signUp(server.url)
    const token = tokenFor(nextSub())
    const asToken = await cookieUser.expect<{ user: { id: string } }>(
      200,
      'PATCH',
      '/v1/users/me',
      { name: 'By token' },
      { headers: bearer(token) },
    )
    expect(asToken.body.user.id).not.toBe(cookieUser.id)
    for (const [path, headers] of [
      ['/v1/session', bearer('garbage')],
      ['/v1/session', { authorization: 'Bearer' }],
      ['/v1/session', { authorization: 'bearer  two words' }],
      ['/v1/events', bearer('garbage')],
    ] as const) {
      const answer = await cookieUser.call(path === '/v1/events' ? 'GET' : 'GET', path, undefined, { headers })
      expect(answer.status).toBe(401)
    }
    const signIn = { handle: cookieUser.handle, password: cookieUser.password }
    const answer = await cookieUser.call('POST', '/v1/session', signIn, { headers: bearer(token) })
    expect([answer.status, answer.headers['set-cookie']]).toEqual([400, undefined])
    // A proxy in front may use another scheme for itself.
    const basic = { headers: { authorization: 'Basic dXNlcjpwYXNz' } }
    await cookieUser.expect(200, 'GET', '/v1/session', undefined, basic)
    await cookieUser.expect(200, 'GET', '/v1/session')
    await expect(
      SocketUser.connect(server.url, { cookie: cookieUser.cookie, client: { auth: { token: 'garbage' } } }),
    ).rejects.toMatchObject({ data: { code: 'unauthenticated' } })
    const user = await SocketUser.connect(server.url, { cookie: cookieUser.cookie, client: { auth: { token } } })
    expect(user.named('ready')).toMatchObject([{ user: { id: asToken.body.user.id } }])
    user.close()
  })

  it('[TOKEN1] accepts the token in no address', async () => {
    const token = tokenFor(nextSub())
    await http.expect(401, 'GET', `/v1/session?token=${token}`)
    await http.expect(400, 'GET', `/v1/events?token=${token}`, undefined, { headers: bearer(token) })
    await expect(SocketUser.connect(server.url, { client: { query: { token } } })).rejects.toMatchObject({
      data: { code: 'unauthenticated' },
    })
  })

  it.each(['', 'no-uuid', 7, { a: 1 }, '0'.repeat(500)])('[BAD1] refuses the device %j', async (device) => {
    const token = tokenFor('devices')
    await expect(SocketUser.connect(server.url, { client: { auth: { token, device } } })).rejects.toMatchObject({
      data: { code: 'invalid' },
    })
    if (typeof device !== 'string') return
    for (const path of ['/v1/conversations', '/v1/events'])
      await http.expect(400, 'GET', path, undefined, { headers: bearer(token, device) })
  })

  it.each([7, null, {}, [], true])('[BAD1] refuses the token %j', async (token) => {
    await expect(SocketUser.connect(server.url, { client: { auth: { token } } })).rejects.toMatchObject({
      data: { code: 'invalid' },
    })
  })
})

describe('a hostile token', () => {
  it('[TOKEN1] is refused on every transport, with a reason', async () => {
    const now = Math.floor(Date.now() / 1_000)
    const rsa = makeKeyPair('RS256', 'shop-rsa')
    await runKeys(server.database, ['add-public-key', key.id, '-', '--kid', rsa.kid], JSON.stringify(rsa.jwk))
    await waitForFact(
      async () =>
        (await http.call('GET', '/v1/conversations', undefined, { headers: bearer(signToken(rsa, makeClaims('rsa'))) }))
          .status === 200,
      { what: 'the registered key', timeoutMs: 5_000 },
    )
    const pem = createPublicKey({ key: rsa.jwk!, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
    const confused = {
      ...makeSecretKey(rsa.kid, 'x'),
      sign: (input: string) => createHmac('sha256', pem).update(input).digest(),
    }
    const claims = makeClaims('eve')
    const [head = '', body = '', signature = ''] = tokenFor('eve').split('.')
    for (const [token, reason] of [
      [signToken(makeSecretKey(key.id, 'a guessed secret'), claims), 'signature is wrong'],
      [`${head}.${encodeTokenPart({ ...claims, sub: 'ada' })}.${signature}`, 'signature is wrong'],
      [`${encodeTokenPart({ alg: 'none', kid: key.id })}.${body}.`, 'alg must be one of'],
      [signToken(key.signing, claims, { alg: 'HS512' }), 'alg must be one of'],
      [signToken(confused, claims), 'does not sign with HS256'],
      [signToken(rsa, claims, { kid: 'key_0000000000000000' }), 'no API key'],
      [signToken(rsa, claims, { kid: 'unknown' }), 'no registered set'],
      [tokenFor('eve', { exp: now - 1 }), 'expired'],
      [tokenFor('eve', { iat: now + 90, exp: now + 300 }), 'not valid yet'],
      [tokenFor('eve', { nbf: now + 90 }), 'not valid yet'],
      [tokenFor('eve', { exp: now + 86_500 }), 'more than 24 hours'],
      [tokenFor('eve', { aud: 'https://other.example' }), 'aud'],
      [tokenFor('eve', { sub: 'x'.repeat(129) }), 'claim sub'],
      [tokenFor('eve', { padding: 'x'.repeat(8_000) }), 'longer than'],
      ['\u00ff.\u00ff.\u00ff', 'three parts'],
    ] as const)
      await expectRefused(token, reason)
    // Over REST, the secret of an API key is a credential of its own.
    await expect(SocketUser.connect(server.url, { client: { auth: { token: key.secret } } })).rejects.toMatchObject({
      message: expect.stringContaining('secret of an API key') as string,
    })
    expect((await http.call('GET', '/v1/events', undefined, { headers: bearer(key.secret) })).status).toBe(401)
    await http.expect(200, 'GET', '/readyz')
  })

  it('[TOKEN1] appears in no line of the log', async () => {
    const token = tokenFor(nextSub())
    await http.expect(200, 'GET', '/v1/conversations', undefined, { headers: bearer(token, randomUUID()) })
    const user = await SocketUser.connect(server.url, { client: { auth: { token } } })
    await user.command('authenticate', { token: `${token}x` })
    user.close()
    const text = server.logs.text
    for (const secret of [token, token.split('.')[2]!, key.secret, key.signingSecret])
      expect(text).not.toContain(secret)
  })
})

describe('a revocation', () => {
  it('[ACL2] by deactivation ends the connections of the user within a second', async () => {
    const sub = nextSub()
    const token = tokenFor(sub)
    const [socket, lone] = await Promise.all([
      SocketUser.connect(server.url, { client: { auth: { token, device: randomUUID() } } }),
      SocketUser.connect(server.url, { client: { auth: { token } } }),
    ])
    const put = (deactivated: boolean): Promise<unknown> =>
      http.expect(200, 'PUT', `/v1/admin/users/${sub}`, { name: 'Ada', deactivated }, { headers: bearer(key.secret) })
    const startMs = performance.now()
    await put(true)
    await Promise.all([socket, lone].map((user) => user.waitFor(({ name }) => name === 'closing')))
    expect(performance.now() - startMs).toBeLessThan(1_500)
    expect(socket.named('closing')).toMatchObject([{ code: 'revoked' }])
    await waitForFact(
      async () => (await http.call('GET', '/v1/conversations', undefined, { headers: bearer(token) })).status === 401,
      { what: 'the refusal', timeoutMs: 1_500 },
    )
    await put(false)
  })

  it('[ACL2] of the key ends its connections and refuses its tokens within a second', async () => {
    const mine = await createApiKey(server.database)
    const token = tokenFor(nextSub(), {}, mine)
    const headers = bearer(token, randomUUID())
    const call = async (): Promise<number> =>
      (await http.call('GET', '/v1/conversations', undefined, { headers })).status
    await waitForFact(async () => (await call()) === 200, { what: 'the new key', timeoutMs: 5_000 })
    const [socket, polling, stream] = await Promise.all([
      SocketUser.connect(server.url, { client: { auth: { token, device: randomUUID() } } }),
      SocketUser.connect(server.url, { transports: ['polling'], client: { auth: { token } } }),
      SseClient.open(server.url, { headers }),
    ])
    await runKeys(server.database, ['revoke', mine.id])
    const revokedAtMs = performance.now()
    await Promise.all([
      waitForFact(async () => (await call()) === 401, { what: 'the refusal', timeoutMs: 5_000 }),
      socket.waitFor(({ name }) => name === 'closing'),
      polling.waitFor(({ name }) => name === 'closing'),
      stream.waitFor(({ name }) => name === 'closing'),
    ])
    // A second, and what a busy machine adds.
    expect(performance.now() - revokedAtMs).toBeLessThan(4_000)
    expect(socket.named('closing')).toMatchObject([{ code: 'revoked', retry: 'never' }])
    for (const user of [socket, polling]) user.close()
    stream.close()
  })

  it('[TOKEN1] of the old secret ends a rotation', async () => {
    const mine = await createApiKey(server.database)
    const next = JSON.parse(await runKeys(server.database, ['rotate', mine.id, '--json'])) as { signingSecret: string }
    const sub = nextSub()
    const [old, fresh] = [mine.signing, makeSecretKey(mine.id, next.signingSecret)].map((signing) =>
      signToken(signing, makeClaims(sub)),
    ) as [string, string]
    const status = async (token: string): Promise<number> =>
      (await http.call('GET', '/v1/conversations', undefined, { headers: bearer(token) })).status
    await waitForFact(async () => (await status(fresh)) === 200, { what: 'the new secret', timeoutMs: 5_000 })
    expect(await status(old)).toBe(200)
    await runKeys(server.database, ['rotate', mine.id, '--end'])
    await waitForFact(async () => (await status(old)) === 401, { what: 'the end of the old secret', timeoutMs: 5_000 })
    expect(await status(fresh)).toBe(200)
  })
})

it('[LIM1] [TOKEN1] a flood of new users meets the limit of its key only', async () => {
  const limited = await startQuickServer({ env: { LIMIT_NEW_TOKEN_USERS: '50', LIMIT_CONNECTIONS: '0' } })
  try {
    const [leaked, other] = [await createApiKey(limited.database), await createApiKey(limited.database)]
    const guest = HttpUser.stranger(limited.url)
    const codes = new Map<number, number>()
    const ask = async (sub: string, by = leaked): Promise<number> => {
      const headers = bearer(tokenFor(sub, {}, by))
      const { status, headers: answered } = await guest.call('GET', '/v1/conversations', undefined, { headers })
      if (status === 429) expect(Number(answered['retry-after'])).toBeGreaterThan(0)
      return status
    }
    const beganMs = performance.now()
    expect(await ask('known')).toBe(200)
    for (let from = 0; from < 10_000; from += 100) {
      const flood = Array.from({ length: 100 }, async (_, n) => {
        const status = await ask(`guest ${from + n}`)
        codes.set(status, (codes.get(status) ?? 0) + 1)
      })
      if (from % 2_500 === 2_000) {
        // In the middle of the flood: a known user, a new one of another key, one that the back end
        // of the leaked key has created, and an account with a password.
        const headers = { authorization: `Bearer ${leaked.secret}` }
        await guest.call('PUT', `/v1/admin/users/put-${from}`, { name: 'Ada' }, { headers })
        expect(await Promise.all([ask('known'), ask(`new ${from}`, other), ask(`put-${from}`)])).toEqual([
          200, 200, 200,
        ])
        expect((await HttpUser.signUp(limited.url)).id).toBeDefined()
      }
      await Promise.all(flood)
    }
    // A busy machine may need more than one minute for the flood.
    const minutes = Math.ceil((performance.now() - beganMs) / 60_000)
    const { 200: created = 0, ...others } = Object.fromEntries(codes)
    expect(created + 1).toBeGreaterThanOrEqual(50)
    expect(created + 1).toBeLessThanOrEqual(50 * minutes)
    expect(others).toEqual({ 429: 10_000 - created })
  } finally {
    await limited.remove()
  }
}, 240_000)
