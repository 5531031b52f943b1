import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deviceHash } from '../accounts/token-sessions.ts'
import { findSessions, listSessions, revokeSession, touchSessions } from '../accounts/sessions.ts'
import type { Database } from '../database/database.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import { revokeKey, revokeKeySessions } from '../keys/key-store.ts'
import { makeClaims, type SigningKey, signToken } from '@chorus/testkit'
import { createKey, startTokens, type TokenFixture } from './testing/token-fixture.ts'
import type { VerifiedToken } from './token-cache.ts'
import { tokenSessionBounds } from './token-sessions.ts'

const nowS = (): number => Math.floor(Date.now() / 1_000)

describe.each(testEngines)('sessions of user tokens on %s', (engine) => {
  let store: TestDatabase
  let database: Database
  let key: SigningKey
  let count = 0

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    database = store.database
    key = await createKey(database)
  })
  afterAll(() => store.close())

  const use = ({ tokens }: TokenFixture, sub: string, claims: object = {}, signer = key): Promise<VerifiedToken> =>
    tokens.check(signToken(signer, { ...makeClaims(sub), ...claims }), '192.0.2.1')
  const nextSub = (): string => `customer ${++count}`
  const refuses = (opened: Promise<unknown>, reason: string, code = 'unauthenticated') =>
    expect(opened).rejects.toMatchObject({ code, message: expect.stringContaining(reason) as string })
  const expiryOf = async (id: string): Promise<number> => {
    const [row] = await database.query<{ expires_at: string }>({
      text: 'select expires_at from sessions where id = $1',
      values: [id],
    })
    return Date.parse(row!.expires_at)
  }

  it('[TOKEN4] is one for a user and a device, over tokens, keys and servers', async () => {
    const [one, other] = [startTokens(database), startTokens(database)]
    const second = await createKey(database, 'second')
    const [sub, device] = [nextSub(), randomUUID()]
    const first = await one.sessions.open(await use(one, sub), { device, userAgent: 'Firefox' })
    expect(first).toMatchObject({ credential: 'device-token', record: { userAgent: 'Firefox' } })
    const later = await other.sessions.open(await use(other, sub, { iat: nowS() + 1 }, second), {
      device,
      userAgent: null,
    })
    expect(later.sessionId).toBe(first.sessionId)
    expect(later.record.userAgent).toBe('Firefox')
    const elsewhere = await one.sessions.open(await use(one, sub), { device: randomUUID(), userAgent: null })
    expect(elsewhere.sessionId).not.toBe(first.sessionId)
    expect(await listSessions(database, first.userId)).toHaveLength(2)
    // It lasts as long as its newest key.
    await revokeKeySessions(database, key.kid)
    expect((await listSessions(database, first.userId)).map(({ id }) => id)).toEqual([first.sessionId])
  })

  it('[TOKEN4] begins once when a device connects several times at once', async () => {
    const server = startTokens(database)
    const device = randomUUID()
    const token = await use(server, nextSub())
    const opened = await Promise.all(
      Array.from({ length: 20 }, () => server.sessions.open(token, { device, userAgent: null })),
    )
    expect(new Set(opened.map(({ sessionId }) => sessionId)).size).toBe(1)
  })

  it('[TOKEN4] expires thirty days after its last use', async () => {
    const server = startTokens(database)
    const { sessionId } = await server.sessions.open(await use(server, nextSub()), {
      device: randomUUID(),
      userAgent: null,
    })
    const day = 86_400_000
    expect(await expiryOf(sessionId)).toBeGreaterThan(Date.now() + 29.9 * day)
    await database.query({
      text: `update sessions set expires_at = now() + interval '1 day' where id = $1`,
      values: [sessionId],
    })
    await touchSessions(database, [sessionId])
    expect(await expiryOf(sessionId)).toBeGreaterThan(Date.now() + 29.9 * day)
  })

  it('[TOKEN4] without a device ends with its connection', async () => {
    const server = startTokens(database)
    const token = await use(server, nextSub())
    const opened = await server.sessions.open(token, { device: undefined, userAgent: null })
    expect(opened.credential).toBe('lone-token')
    expect(await expiryOf(opened.sessionId)).toBe(token.expMs)
    expect(await listSessions(database, token.userId)).toHaveLength(1)
    server.sessions.end(opened.sessionId)
    await server.sessions.stop()
    expect(await listSessions(database, token.userId)).toEqual([])
    server.clock.advance(tokenSessionBounds.endAfterMs)
  })

  it('[ACL2] does not begin again under a token from before its revocation', async () => {
    const [one, other] = [startTokens(database), startTokens(database)]
    const [sub, device] = [nextSub(), randomUUID()]
    const token = await use(one, sub)
    const first = await one.sessions.open(token, { device, userAgent: null })
    await revokeSession(database, token.userId, first.sessionId)
    for (const server of [one, other])
      await refuses(server.sessions.open(await use(server, sub), { device, userAgent: null }), 'signed out')
    const newer = await Promise.all(
      [one, other].map(async (server) =>
        server.sessions.open(await use(server, sub, { iat: nowS() + 2 }), { device, userAgent: null }),
      ),
    )
    expect(newer[0]!.sessionId).toBe(newer[1]!.sessionId)
    expect(newer[0]!.sessionId).not.toBe(first.sessionId)
    // The sweep of another server still finds the revoked one.
    const [row] = await database.query<{ revoked: boolean }>({
      text: 'select revoked_at is not null as revoked from sessions where id = $1',
      values: [first.sessionId],
    })
    expect(row).toEqual({ revoked: true })
  })

  it('[ACL2] does not begin while its key, or its user, is revoked', async () => {
    const server = startTokens(database)
    const mine = await createKey(database)
    server.clock.advance(1_000)
    const token = await use(server, nextSub(), {}, mine)
    // The key was revoked after the token was checked, and its sessions were looked for already.
    await revokeKey(database, mine.kid)
    for (const device of [undefined, randomUUID()])
      await refuses(server.sessions.open(token, { device, userAgent: null }), 'revoked at this moment')
    const disabled = await use(server, nextSub())
    await database.query({ text: 'update users set disabled_at = now() where id = $1', values: [disabled.userId] })
    await refuses(server.sessions.open(disabled, { device: randomUUID(), userAgent: null }), 'revoked at this moment')
  })

  it('[TOKEN3] is renewed with its connection', async () => {
    const server = startTokens(database)
    const sub = nextSub()
    for (const device of [undefined, randomUUID()]) {
      const token = await use(server, sub, { exp: nowS() + 100 })
      const { sessionId, userId } = await server.sessions.open(token, { device, userAgent: null })
      const connection = { session: sessionId, user: userId, expiresAtMs: 0 }
      const next = await use(server, sub, { exp: nowS() + 1_000 })
      expect((await server.sessions.renew(connection, next)).getTime()).toBe(next.expMs)
      expect(connection.expiresAtMs).toBeGreaterThan(900_000)
      await revokeSession(database, userId, sessionId)
      await refuses(server.sessions.renew(connection, next), 'has ended')
      await refuses(server.sessions.renew({ ...connection, user: randomUUID() }, next), 'has ended')
    }
  })

  it('[LIM1] begins fifty a minute for one user', async () => {
    const server = startTokens(database, { limits: { limitSignIns: 10 } })
    const token = await use(server, nextSub())
    const open = (device?: string): Promise<unknown> => server.sessions.open(token, { device, userAgent: null })
    const known = randomUUID()
    await open(known)
    for (let n = 0; n < 49; n++) await open(n % 2 === 0 ? randomUUID() : undefined)
    await refuses(open(), 'too many new devices', 'rate-limited')
    await refuses(open(randomUUID()), 'too many new devices', 'rate-limited')
    await open(known)
  })

  it('[TOKEN4] serves requests of its device, found like the session of a cookie', async () => {
    const server = startTokens(database)
    const [sub, device] = [nextSub(), randomUUID()]
    const token = await use(server, sub)
    let asked = 0
    const recognise = async (hash: Buffer) => {
      asked++
      expect(hash).toEqual(deviceHash(token.userId, device))
      return (await findSessions(database, [hash]))[0]
    }
    const request = (): Promise<string> => server.sessions.forRequest(token, device, null, recognise)
    const id = await request()
    expect([await request(), asked]).toEqual([id, 1])
    await revokeSession(database, token.userId, id)
    await refuses(request(), 'signed out')
  })
})
