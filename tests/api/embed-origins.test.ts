/**
 * Pages of EMBED_ORIGINS use Chorus with a user token on every transport: CORS without credentials,
 * cookies ignored. ALLOWED_ORIGINS stays as it is.
 */
import {
  type CreatedKey,
  createApiKey,
  EngineClient,
  type HttpAnswer,
  HttpUser,
  makeClaims,
  type ServerProcess,
  signToken,
  SocketUser,
  SseClient,
} from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

const shop = 'https://shop.example'
const app = 'https://app.example'
const audience = 'https://chat.example'

let server: ServerProcess
let key: CreatedKey
let ada: HttpUser
let guest: HttpUser

beforeAll(async () => {
  server = await startQuickServer({
    env: { PUBLIC_URL: audience, EMBED_ORIGINS: shop, ALLOWED_ORIGINS: app, LIMIT_SIGN_INS: '0' },
  })
  key = await createApiKey(server.database)
  ada = await HttpUser.signUp(server.url)
  guest = HttpUser.stranger(server.url)
})

afterAll(async () => {
  await server.remove()
})

const tokenFor = (sub: string, claims: object = {}): string => signToken(key.signing, { ...makeClaims(sub), ...claims })
const preflight = (path: string, method: string, origin: string, headers: string): Promise<HttpAnswer> =>
  guest.call('OPTIONS', path, undefined, {
    headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': headers },
  })

const embedHeaders = 'Authorization, Content-Type, Last-Event-ID, Idempotency-Key, Chorus-Device'
const cookieHeaders = 'Content-Type, Last-Event-ID'

describe('preflights', () => {
  it.each([
    ['/v1/conversations', 'POST'],
    ['/v1/session/data', 'PATCH'],
    ['/v1/events', 'GET'],
    ['/socket.io/?EIO=4&transport=polling', 'POST'],
  ])('[EMBED1] of %s answer each list in its own way', async (path, method) => {
    const embed = await preflight(path, method, shop, 'authorization,chorus-device')
    expect(embed.status).toBe(204)
    expect(embed.headers).toMatchObject({
      'access-control-allow-origin': shop,
      'access-control-allow-headers': embedHeaders,
      vary: 'Origin',
    })
    expect(embed.headers['access-control-allow-methods']).toContain(method)
    expect(embed.headers['access-control-allow-credentials']).toBeUndefined()
    const withCookies = await preflight(path, method, app, 'content-type')
    expect(withCookies.headers).toMatchObject({
      'access-control-allow-origin': app,
      'access-control-allow-headers': cookieHeaders,
      'access-control-allow-credentials': 'true',
    })
    for (const origin of ['https://evil.example', `${shop}.evil.example`, 'https://shop.example:8443', 'null']) {
      const refused = await preflight(path, method, origin, 'authorization')
      expect(refused.status).toBeGreaterThanOrEqual(400)
      expect(refused.headers['access-control-allow-origin']).toBeUndefined()
    }
  })
})

describe('an embedded page', () => {
  it('[EMBED1] uses REST with a token, and never with the cookie of this server', async () => {
    const headers = { origin: shop }
    const answer = await ada.call('GET', '/v1/session', undefined, { headers })
    expect(answer).toMatchObject({ status: 401, body: { detail: 'unable to get session; send a user token' } })
    expect(answer.headers['access-control-allow-origin']).toBe(shop)
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined()
    for (const [method, path, body] of [
      ['POST', '/v1/conversations', { kind: 'channel', name: 'forged' }],
      ['DELETE', '/v1/session', undefined],
      ['GET', '/v1/events', undefined],
    ] as const)
      await ada.expect(401, method, path, body, { headers })
    const token = { ...headers, authorization: `Bearer ${tokenFor('shopper', { aud: audience })}` }
    const made = await ada.expect(
      201,
      'POST',
      '/v1/conversations',
      { kind: 'group', name: 'order 7' },
      { headers: token },
    )
    expect(made.headers['access-control-allow-origin']).toBe(shop)
    await ada.expect(200, 'GET', '/v1/session')
  })

  it('[EMBED1] gets no cookie by signing in or up', async () => {
    const headers = { origin: shop }
    for (const [path, body] of [
      ['/v1/session', { handle: ada.handle, password: ada.password }],
      ['/v1/users', { handle: 'embedded', password: 'a long enough password', name: 'E' }],
    ] as const) {
      const answer = await guest.call<{ code: string }>('POST', path, body, { headers })
      expect([answer.status, answer.body.code, answer.headers['set-cookie']]).toEqual([400, 'invalid', undefined])
    }
  })

  it.each(['websocket', 'polling'] as const)('[EMBED1] connects over %s with a token alone', async (transport) => {
    const page = { transports: [transport], headers: { origin: shop }, cookie: ada.cookie }
    const user = await SocketUser.connect(server.url, { ...page, client: { auth: { token: tokenFor('shopper') } } })
    expect(user.named('ready')).toMatchObject([{ user: { handle: expect.stringMatching(/^u-/) as string } }])
    user.close()
    await expect(SocketUser.connect(server.url, page)).rejects.toMatchObject({
      message: 'unable to connect; send a user token in auth',
      data: { code: 'unauthenticated' },
    })
  })

  it('[EMBED1] may read the answers of polls, without credentials', async () => {
    const poll = await guest.call('GET', '/socket.io/?EIO=4&transport=polling', undefined, {
      headers: { origin: shop },
    })
    expect(poll.status).toBe(200)
    expect(poll.headers['access-control-allow-origin']).toBe(shop)
    expect(poll.headers['access-control-allow-credentials']).toBeUndefined()
  })

  it('[EMBED1] reads an event stream by fetch', async () => {
    const headers = { origin: shop, authorization: `Bearer ${tokenFor('shopper')}` }
    const stream = await SseClient.open(server.url, { headers, cookie: ada.cookie })
    await stream.waitFor(({ name }) => name === 'ready')
    expect(stream.headers['access-control-allow-origin']).toBe(shop)
    expect(stream.headers['access-control-allow-credentials']).toBeUndefined()
    stream.close()
  })

  it('[TOKEN1] needs a token for this server', async () => {
    const statusOf = async (aud: unknown): Promise<number> =>
      (
        await guest.call('GET', '/v1/conversations', undefined, {
          headers: { origin: shop, authorization: `Bearer ${tokenFor('shopper', { aud })}` },
        })
      ).status
    expect(await Promise.all(['https://other.example', [], [audience, 'x'], audience].map(statusOf))).toEqual([
      401, 401, 200, 200,
    ])
  })
})

it('[EMBED1] pages of ALLOWED_ORIGINS and this server keep their cookies', async () => {
  for (const origin of [app, audience]) {
    await ada.expect(200, 'GET', '/v1/session', undefined, { headers: { origin } })
    const socket = await EngineClient.connect(server.url, { cookie: ada.cookie, headers: { origin } })
    socket.close()
    const stream = await SseClient.open(server.url, { cookie: ada.cookie, headers: { origin } })
    await stream.waitFor(({ name }) => name === 'ready')
    stream.close()
  }
})
