/** Tests when the client asks the application for tokens, and what it does with refused ones. */
import { ChorusError } from '@chorus/protocol'
import { expect, it } from 'vitest'
import { ManualClock, settle } from '../testing/manual-clock.ts'
import { refusalsMax, timeLeftMs, tokenTimings, UserTokens } from './user-tokens.ts'

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const tokenOf = (iatS: number, lifeS: number, name = ''): string =>
  `${encode({ alg: 'HS256' })}.${encode({ sub: 'ada', iat: iatS, exp: iatS + lifeS, name })}.c2ln`

interface Sent {
  readonly authorization: string | null
  readonly cookie: string | null
  readonly device: string | null
  readonly credentials: RequestCredentials | undefined
}

function open(lifeS = 100) {
  const clock = new ManualClock()
  clock.nextRandom = 0
  const sent: Sent[] = []
  const authenticated: string[] = []
  const state = {
    calls: 0,
    reconnects: 0,
    transportName: 'socket-io' as 'socket-io' | 'sse',
    give: (): Promise<string> => Promise.resolve(tokenOf(clock.wallNow() / 1_000, lifeS, `token ${state.calls}`)),
    answer: (): number => 200,
    accept: (): Promise<unknown> => Promise.resolve({}),
  }
  const tokens = new UserTokens({
    clock,
    getToken: () => {
      state.calls += 1
      return state.give()
    },
    fetch: (_input, init) => {
      const headers = new Headers(init?.headers)
      const [authorization, cookie, device] = ['authorization', 'cookie', 'chorus-device'].map((name) =>
        headers.get(name),
      ) as [string | null, string | null, string | null]
      sent.push({ authorization, cookie, device, credentials: init?.credentials })
      return Promise.resolve(new Response('{}', { status: state.answer() }))
    },
    store: { readDevice: () => Promise.resolve('device-1') },
    connection: () => ({
      get transportName() {
        return state.transportName
      },
      request: (async (_name: string, { token }: { token: string }) => {
        await state.accept()
        authenticated.push(token)
        return {}
      }) as never,
      reconnect: () => {
        state.reconnects += 1
      },
    }),
  })
  const get = (): Promise<Response> => tokens.fetch('http://chat.example/v1/session', { headers: { cookie: 'a=b' } })
  return { clock, sent, authenticated, state, tokens, get }
}

it('sends one token of one call with all requests, and no cookies', async () => {
  const { sent, state, get } = open()
  await Promise.all([get(), get(), get()])
  expect(state.calls).toBe(1)
  expect(sent).toHaveLength(3)
  for (const one of sent)
    expect(one).toEqual({
      authorization: expect.stringMatching(/^Bearer /) as string,
      cookie: null,
      device: 'device-1',
      credentials: 'omit',
    })
})

it('[TOKEN5] renews the token over the open connection before it ends', async () => {
  const { clock, authenticated, state, tokens } = open(100)
  await tokens.forLink()
  tokens.follow(true)
  await clock.advance(79_999)
  expect(state.calls).toBe(1)
  await clock.advance(1)
  expect([state.calls, authenticated.length]).toEqual([2, 1])
  await clock.advance(80_000)
  expect([state.calls, authenticated.length]).toEqual([3, 2])
  tokens.follow(false)
  await clock.advance(1_000_000)
  expect(state.calls).toBe(3)
})

it('leaves ten seconds to renew a token, or half of a short life', async () => {
  for (const [lifeS, renewedAtS] of [
    [30, 20],
    [12, 6],
    [3_600, 2_880],
  ] as const) {
    const { clock, state, tokens } = open(lifeS)
    await tokens.forLink()
    tokens.follow(true)
    await clock.advance(renewedAtS * 1_000 - 1)
    expect(state.calls).toBe(1)
    await clock.advance(1)
    expect(state.calls).toBe(2)
  }
})

it('sends a token that a request renewed over the connection too', async () => {
  const { clock, authenticated, state, tokens, get } = open(100)
  await tokens.forLink()
  tokens.follow(false)
  await clock.advance(90_000)
  await get()
  expect(state.calls).toBe(2)
  tokens.follow(true)
  await clock.advance(0)
  expect(authenticated).toHaveLength(1)
})

it('[TOKEN5] calls a failing getToken again after a back-off, and uses the old token', async () => {
  const { clock, sent, state, tokens, get } = open(100)
  await get()
  const { give } = state
  state.give = () => Promise.reject(new Error('the back end is down'))
  await clock.advance(85_000)
  for (let index = 0; index < 50; index++) await get()
  expect(state.calls).toBe(2)
  expect(new Set(sent.map(({ authorization }) => authorization)).size).toBe(1)
  clock.nextRandom = 0.9
  await clock.advance(20_000)
  await expect(get()).rejects.toMatchObject({ code: 'unavailable' })
  await expect(get()).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: expect.any(Number) as number })
  expect(state.calls).toBe(3)
  state.give = give
  await clock.advance(2_000)
  expect((await get()).status).toBe(200)
  expect(tokens.isRefused).toBe(false)
})

it('gives up a getToken that does not resolve', async () => {
  const { clock, state, get } = open()
  state.give = () => new Promise(() => undefined)
  const pending = expect(get()).rejects.toMatchObject({ code: 'unavailable' })
  await clock.advance(tokenTimings.askMaxMs)
  await pending
})

it('asks for another token after a refusal, and repeats the request', async () => {
  const { sent, state, get } = open()
  state.answer = () => (sent.length === 1 ? 401 : 200)
  expect((await get()).status).toBe(200)
  expect([state.calls, sent.length]).toEqual([2, 2])
})

it('[TOKEN5] asks for no token after four refusals in a row, until restart', async () => {
  const { clock, state, tokens, get } = open()
  state.answer = () => 401
  const refused: Promise<unknown>[] = []
  while (!tokens.isRefused && refused.length < 10) {
    const asked = get()
    refused.push(asked)
    await clock.advance(10_000)
    await asked
  }
  expect(state.calls).toBe(refusalsMax)
  await expect(get()).rejects.toMatchObject({ code: 'unauthenticated' })
  expect(state.calls).toBe(refusalsMax)
  tokens.restart()
  state.answer = () => 200
  const asked = get()
  await clock.advance(10_000)
  expect((await asked).status).toBe(200)
})

it('gives up at once when the application says that its user is signed out', async () => {
  const { state, tokens, get } = open()
  state.give = () => Promise.reject(new ChorusError('unauthenticated', 'unable to sign in; sign in first'))
  await expect(get()).rejects.toMatchObject({ code: 'unauthenticated' })
  expect(tokens.isRefused).toBe(true)
})

it('connects again when the application gives tokens of another user', async () => {
  const { clock, state, tokens } = open(100)
  await tokens.forLink()
  tokens.follow(true)
  state.accept = () => {
    tokens.follow(false)
    return Promise.reject(new ChorusError('forbidden', 'unable to authenticate; the token is of another user'))
  }
  await clock.advance(80_000)
  expect(state.reconnects).toBe(1)
  await clock.advance(10_000)
  expect(state.reconnects).toBe(1)
})

it('repeats a renewal that got no answer', async () => {
  const { clock, authenticated, state, tokens } = open(100)
  await tokens.forLink()
  tokens.follow(true)
  let tries = 0
  state.accept = () => {
    tries += 1
    return tries < 3 ? Promise.reject(new ChorusError('unknown', 'no answer')) : Promise.resolve({})
  }
  await clock.advance(85_000)
  expect([tries, authenticated.length, state.calls]).toEqual([3, 1, 2])
})

it('sends no token over an event stream', async () => {
  const { clock, authenticated, state, tokens } = open(100)
  state.transportName = 'sse'
  await tokens.forLink()
  tokens.follow(true)
  await clock.advance(100_000)
  expect(authenticated).toEqual([])
  await settle()
})

it('believes the clock of the device only within the life of a token', () => {
  const token = tokenOf(1_000, 100, 'Zoë')
  expect(timeLeftMs(token, 1_040_000)).toBe(60_000)
  expect(timeLeftMs(token, 2_000_000)).toBe(100_000)
  expect(timeLeftMs(token, 500_000)).toBe(100_000)
  for (const other of ['', 'opaque', 'a.b.c', `a.${encode({ iat: 'x' })}.c`, `a.${encode(null)}.c`])
    expect(timeLeftMs(other, 0)).toBe(Number.POSITIVE_INFINITY)
})
