/**
 * Connections with tokens of a few seconds: they end with the token, or go on under the next one.
 * The tests run at the same time, because they mostly wait.
 */
import { randomUUID } from 'node:crypto'
import {
  type CreatedKey,
  createApiKey,
  HttpUser,
  makeClaims,
  type ServerProcess,
  signToken,
  SocketUser,
  SseClient,
  waitForFact,
} from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess
let key: CreatedKey

beforeAll(async () => {
  server = await startQuickServer({ env: { LIMIT_SIGN_INS: '0' } })
  key = await createApiKey(server.database)
})

afterAll(async () => {
  await server.remove()
})

const nowS = (): number => Math.floor(Date.now() / 1_000)
const shortS = 3
const tokenFor = (sub: string, seconds = 300): string =>
  signToken(key.signing, { ...makeClaims(sub), iat: nowS() - 1, exp: nowS() + seconds, jti: randomUUID() })
const expired = { code: 'unauthenticated', retry: 'later' }

/** Checks that the connection ended between the end of its token and a little later. */
function expectEndAt(expS: number): void {
  expect(Date.now()).toBeGreaterThan(expS * 1_000 - 100)
  expect(Date.now()).toBeLessThan(expS * 1_000 + 5_000)
}

it.concurrent.each(['websocket', 'polling'] as const)(
  '[TOKEN3] a connection over %s ends with its token and resumes by cursor',
  async (transport) => {
    const [sub, device] = [`${transport}-reader`, randomUUID()]
    const writer = await HttpUser.signUp(server.url)
    const expS = nowS() + shortS
    const connect = (token: string, cursor?: string): Promise<SocketUser> =>
      SocketUser.connect(server.url, { transports: [transport], client: { auth: { token, device, cursor } } })
    const user = await connect(tokenFor(sub, shortS))
    const { user: me } = user.named<{ user: { id: string } }>('ready')[0]!
    const group = await writer.createConversation('group', [me.id], 'both')
    await writer.send(group, 'before')
    await user.waitFor(({ name }) => name === 'checkpoint')
    await user.waitFor(({ name }) => name === 'closing', 'the end', 15_000)
    expectEndAt(expS)
    expect(user.named('closing')).toMatchObject([expired])
    await waitForFact(() => user.disconnections.length > 0, { what: 'the disconnection' })
    const { cursor } = user.named<{ cursor: string }>('checkpoint').at(-1)!
    const last = await writer.send(group, 'while away')
    const again = await connect(tokenFor(sub), cursor)
    await again.waitForSeq(group, last.seq)
    expect(again.named('ready')).toMatchObject([{ resumed: true, user: { id: me.id } }])
    again.close()
  },
)

it.concurrent.each([
  ['websocket', 'a device'],
  ['websocket', 'no device'],
  ['polling', 'a device'],
  ['polling', 'no device'],
] as const)('[TOKEN3] authenticate over %s with %s keeps the connection', async (transport, kind) => {
  const sub = `${transport} with ${kind}`
  const expS = nowS() + shortS
  const auth = { token: tokenFor(sub, shortS), ...(kind === 'a device' && { device: randomUUID() }) }
  const user = await SocketUser.connect(server.url, { transports: [transport], client: { auth } })
  const untilS = nowS() + 300
  const renewed = await user.command('authenticate', { token: tokenFor(sub) })
  expect(renewed).toEqual({ ok: true, expiresAt: expect.any(String) as string })
  expect(Date.parse(renewed.expiresAt as string) / 1_000).toBeGreaterThanOrEqual(untilS)
  await waitForFact(() => Date.now() > (expS + 2) * 1_000, { what: 'the end of the first token' })
  expect(await user.command('status', { status: 'away' })).toEqual({ ok: true })
  expect(user.disconnections).toEqual([])
  user.close()
})

it.concurrent('[TOKEN3] an event stream always ends with its token', async () => {
  const [sub, device] = ['stream-reader', randomUUID()]
  const open = (token: string, lastEventId?: string): Promise<SseClient> =>
    SseClient.open(server.url, {
      headers: { authorization: `Bearer ${token}`, 'chorus-device': device },
      ...(lastEventId !== undefined && { lastEventId }),
    })
  const expS = nowS() + shortS
  const stream = await open(tokenFor(sub, shortS))
  const closing = await stream.waitFor(({ name }) => name === 'closing', 'the end', 15_000)
  expectEndAt(expS)
  expect(closing.data).toMatchObject(expired)
  await stream.ended
  const again = await open(tokenFor(sub), stream.lastEventId)
  expect((await again.waitFor(({ name }) => name === 'ready')).data).toMatchObject({ resumed: true })
  again.close()
})

it.concurrent('[TOKEN3] authenticate refuses other users, bad tokens and cookies, and changes nothing', async () => {
  const expS = nowS() + shortS
  const user = await SocketUser.connect(server.url, { client: { auth: { token: tokenFor('mine', shortS) } } })
  await SocketUser.connect(server.url, { client: { auth: { token: tokenFor('theirs') } } }).then((other) =>
    other.close(),
  )
  for (const [payload, code] of [
    [{ token: tokenFor('theirs') }, 'forbidden'],
    [{ token: tokenFor('nobody yet') }, 'forbidden'],
    [{ token: tokenFor('mine', -1) }, 'unauthenticated'],
    [{ token: 'garbage' }, 'unauthenticated'],
    [{ token: '' }, 'invalid'],
    [{ token: 'x'.repeat(8_193) }, 'too-large'],
    [{ token: 7 }, 'invalid'],
    [{ token: tokenFor('mine'), device: randomUUID() }, 'invalid'],
    [{}, 'invalid'],
  ] as const)
    expect(await user.command('authenticate', payload)).toMatchObject({ ok: false, error: { code } })
  const found = await HttpUser.stranger(server.url).call<{ users: unknown[] }>('GET', '/v1/users?q=nobody', undefined, {
    headers: { authorization: `Bearer ${tokenFor('mine')}` },
  })
  expect(found.body.users).toEqual([])

  const cookieUser = await HttpUser.signUp(server.url)
  const withCookie = await SocketUser.connect(server.url, { cookie: cookieUser.cookie })
  for (const token of [tokenFor('mine'), tokenFor('theirs')])
    expect(await withCookie.command('authenticate', { token })).toMatchObject({ ok: false, error: { code: 'invalid' } })
  await user.waitFor(({ name }) => name === 'closing', 'the end', 15_000)
  expectEndAt(expS)
  expect(withCookie.disconnections).toEqual([])
  withCookie.close()
})

it.concurrent('[TOKEN3] a shorter token ends the connection earlier', async () => {
  const user = await SocketUser.connect(server.url, { client: { auth: { token: tokenFor('shortened') } } })
  const expS = nowS() + shortS
  await user.command('authenticate', { token: tokenFor('shortened', shortS) })
  await user.waitFor(({ name }) => name === 'closing', 'the end', 15_000)
  expectEndAt(expS)
})
