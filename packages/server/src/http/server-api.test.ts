/** Tests the server API: API keys over HTTP, and the commands by which integrators manage users. */
import type { ExternalUser } from '@chorus/protocol'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openLog } from '../database/testing/log-fixture.ts'
import { openTestDatabase, testEngines, type TestDatabase } from '../database/testing/open-test-database.ts'
import { eraseUser } from '../erasure/erase-user.ts'
import { registryTimings } from '../keys/key-registry.ts'
import { pruneCalls } from '../keys/idempotency-store.ts'
import { keysCommand } from '../operator-commands/keys.ts'
import { startTestApp, type TestApp } from './testing/start-test-app.ts'

interface Answer {
  readonly status: number
  // The assertions of each test check the shape.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any
}

describe.each(testEngines)('the server API on the %s engine', (engine) => {
  let store: TestDatabase
  let app: TestApp
  let key: { readonly id: string; readonly secret: string }

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    app = await startTestApp(store.database)
    key = await createKey('read,write,admin')
  })
  afterAll(async () => {
    await app.close()
    await store.close()
  })

  async function createKey(scope: string): Promise<{ readonly id: string; readonly secret: string }> {
    const text = await keysCommand.readAction(['create', '--name', 'Shop', '--scope', scope, '--json'])(store.database)
    app.clock.advance(registryTimings.trustedMs)
    return JSON.parse(text) as { id: string; secret: string }
  }
  const sql = <Row>(text: string, values: unknown[] = []): Promise<Row[]> => store.database.query<Row>({ text, values })
  async function ask(
    method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    secret = key.secret,
  ): Promise<Answer> {
    const authorization = `Bearer ${secret}`
    let response = await app.ask(method, path, body, { authorization, ...headers })
    // On a busy machine, the read of the live keys may take too long. The request had no effect.
    while (response.statusCode === 503) response = await app.ask(method, path, body, { authorization, ...headers })
    return { status: response.statusCode, body: response.body === '' ? undefined : response.json() }
  }
  const pathOf = (externalId: string): string => `/v1/admin/users/${encodeURIComponent(externalId)}`
  const put = (externalId: string, fields: object = {}, headers = {}, secret = key.secret): Promise<Answer> =>
    ask('PUT', pathOf(externalId), { name: 'Ada', ...fields }, headers, secret)

  describe('API keys', () => {
    it('[KEY1] refuses requests without a live key', async () => {
      const { cookie } = await app.signUp('not-a-key')
      expect((await app.ask('GET', '/v1/admin/users', undefined, { cookie })).json()).toMatchObject({
        code: 'unauthenticated',
        detail: 'unable to list external users; send an API key',
      })
      const wrong = [`sk_${'a'.repeat(16)}_${'b'.repeat(43)}`, 'sk_', `${key.secret}x`, key.secret.slice(0, -1)]
      for (const secret of wrong)
        expect(await ask('GET', '/v1/admin/users', undefined, {}, secret)).toMatchObject({
          status: 401,
          body: { code: 'unauthenticated', detail: 'unable to answer; the API key is unknown, ended or revoked' },
        })
      for (const authorization of ['Basic c2s6', `bearer ${key.id}`, ''])
        expect((await app.ask('GET', '/v1/admin/users', undefined, { authorization })).statusCode).toBe(401)
    })

    it('[ACL2] [KEY1] refuses a revoked key within a second', async () => {
      const { id, secret } = await createKey('read')
      expect((await ask('GET', '/v1/admin/users', undefined, {}, secret)).status).toBe(200)
      await keysCommand.readAction(['revoke', id])(store.database)
      app.clock.advance(registryTimings.trustedMs)
      expect((await ask('GET', '/v1/admin/users', undefined, {}, secret)).status).toBe(401)
    })

    it('[KEY1] each command needs its scope', async () => {
      const [reads, writes] = [(await createKey('read')).secret, (await createKey('write')).secret]
      const refused = (scope: string) => ({
        status: 403,
        body: { detail: expect.stringContaining(`the scope ${scope}`) },
      })
      expect((await ask('GET', '/v1/users?q=x', undefined, {}, reads)).status).toBe(200)
      expect(await put('scoped', {}, {}, reads)).toMatchObject(refused('write'))
      expect(await put('scoped', {}, {}, writes)).toMatchObject({ status: 201 })
      expect(await ask('GET', pathOf('scoped'), undefined, {}, writes)).toMatchObject(refused('read'))
      expect(await ask('POST', `${pathOf('scoped')}/revoke-tokens`, undefined, {}, writes)).toMatchObject(
        refused('admin'),
      )
      expect(await put('scoped', { deactivated: true }, {}, writes)).toMatchObject(refused('admin'))
      const bulk = { users: [{ externalId: 'scoped', name: 'x', deactivated: false }] }
      expect(await ask('POST', '/v1/admin/users', bulk, {}, writes)).toMatchObject(refused('admin'))
      expect(await ask('GET', '/v1/users?q=x', undefined, { 'chorus-as': 'scoped' }, reads)).toMatchObject(
        refused('write'),
      )
      expect((await ask('GET', '/v1/users?q=x', undefined, { 'chorus-as': 'scoped' }, writes)).status).toBe(200)
    })

    it('[KEY1] has no session, and ignores the cookie of one', async () => {
      const { cookie, id } = await app.signUp('with-cookie')
      for (const [method, path] of [
        ['GET', '/v1/session'],
        ['DELETE', '/v1/session'],
        ['GET', '/v1/sessions'],
        ['DELETE', `/v1/sessions/${randomUUID()}`],
        ['GET', '/v1/session/data'],
        ['PATCH', '/v1/session/data'],
        ['POST', '/v1/session'],
        ['POST', '/v1/users'],
      ] as const)
        expect(await ask(method, path, undefined, { cookie }), `${method} ${path}`).toMatchObject({
          status: 403,
          body: { detail: expect.stringContaining('an API key has no session') },
        })
      const changed = await ask('PATCH', '/v1/users/me', { name: 'The bot' }, { cookie })
      expect(changed.body.user).toMatchObject({ name: 'The bot', bot: true })
      expect(changed.body.user.id).not.toBe(id)
      expect((await app.ask('GET', '/v1/session', undefined, { cookie })).json()).toMatchObject({ user: { id } })
    })

    it('[LIM3] has its own limit, which requests as a user share', async () => {
      await put('limited')
      const limited = await startTestApp(store.database, { environment: { LIMIT_KEY_REQUESTS: '3' } })
      const statusOf = async (headers = {}): Promise<number> => {
        const authorization = `Bearer ${key.secret}`
        return (await limited.ask('GET', '/v1/users?q=x', undefined, { authorization, ...headers })).statusCode
      }
      expect([await statusOf(), await statusOf({ 'chorus-as': 'limited' }), await statusOf()]).toEqual([200, 200, 200])
      expect([await statusOf(), await statusOf({ 'chorus-as': 'limited' })]).toEqual([429, 429])
      limited.clock.advance(1_000)
      expect(await statusOf()).toBe(200)
      await limited.close()
    })
  })

  describe('Chorus-As', () => {
    it('[KEY1] acts as a user with an external id', async () => {
      const { user } = (await put('ä/1', { name: 'Änne' })).body as { user: ExternalUser }
      const headers = { 'chorus-as': encodeURIComponent('ä/1') }
      const changed = await ask('PATCH', '/v1/users/me', { name: 'Anne' }, headers)
      expect(changed.body.user).toEqual({ id: user.id, handle: user.handle, name: 'Anne', avatar: null, bot: false })
    })

    it('[KEY1] finds no account with a password, no deactivated user and no unknown one', async () => {
      await app.signUp('pass-word')
      await put('gone', { deactivated: true })
      for (const externalId of ['pass-word', 'gone', 'nobody', 'GONE'])
        expect(await ask('GET', '/v1/users?q=x', undefined, { 'chorus-as': externalId }), externalId).toMatchObject({
          status: 404,
          body: { detail: 'unable to find users; there is no user with the id in Chorus-As' },
        })
    })

    it.each(['', '%', '%ff', '%00', 'x'.repeat(129)])('refuses the header %j', async (header) => {
      expect(await ask('GET', '/v1/users?q=x', undefined, { 'chorus-as': header })).toMatchObject({
        status: 400,
        body: { detail: 'unable to find users; Chorus-As is not a percent-encoded external id' },
      })
    })

    it('has no meaning for commands of the server API', async () => {
      await put('actor')
      expect(await put('other', {}, { 'chorus-as': 'actor' })).toMatchObject({ status: 400, body: { code: 'invalid' } })
    })
  })

  describe('users', () => {
    it('[EXT1] creates a user, and updates only the given fields', async () => {
      const created = await put('u-1', { avatar: 'https://pics.example/a.png' })
      expect(created).toEqual({
        status: 201,
        body: {
          user: {
            id: expect.any(String),
            handle: expect.stringMatching(/^u-[a-z]{10}$/),
            name: 'Ada',
            avatar: 'https://pics.example/a.png',
            bot: false,
            externalId: 'u-1',
            deactivated: false,
            erasing: false,
          },
        },
      })
      const { user } = created.body as { user: ExternalUser }
      expect(await put('u-1', { name: 'Ada L.', handle: 'ada-l' })).toEqual({
        status: 200,
        body: { user: { ...user, name: 'Ada L.', handle: 'ada-l' }, duplicate: true },
      })
      expect((await put('u-1', { avatar: null })).body.user).toEqual({ ...user, handle: 'ada-l', avatar: null })
      expect((await ask('GET', pathOf('u-1'))).body.user).toEqual({ ...user, handle: 'ada-l', avatar: null })
      expect((await ask('GET', '/v1/users?q=ada-l')).body.users).toMatchObject([{ id: user.id }])
    })

    it('[EXT1] compares external ids byte for byte', async () => {
      const ids = ['e\u0301', '\u00e9', 'E\u0301', 'a/b?c#d%2F', ' ', '...', 'x'.repeat(128), '\u20ac'.repeat(128)]
      const users = await Promise.all(ids.map(async (id) => (await put(id)).body.user as ExternalUser))
      expect(new Set(users.map(({ id }) => id)).size).toBe(ids.length)
      for (const [index, id] of ids.entries())
        expect((await ask('GET', pathOf(id))).body.user, id).toMatchObject({ id: users[index]?.id, externalId: id })
    })

    it('[EXT1] refuses ids that are too long, or that a path cannot carry', async () => {
      const bulk = { users: ['.', '..', 'a\u0007'].map((externalId) => ({ externalId, name: 'x' })) }
      expect(await ask('POST', '/v1/admin/users', bulk)).toMatchObject({ status: 400, body: { code: 'invalid' } })
      expect(await put('x'.repeat(129))).toMatchObject({ status: 413, body: { code: 'too-large' } })
      expect(await put('a\u0007')).toMatchObject({ status: 400, body: { code: 'invalid' } })
      expect(await ask('GET', pathOf('missing'))).toMatchObject({ status: 404, body: { code: 'not-found' } })
    })

    it('[EXT1] refuses a handle that another user has, ignoring case', async () => {
      const { id } = await app.signUp('Taken-One')
      expect(await put('wants-it', { handle: 'taken-one' })).toMatchObject({ status: 409, body: { code: 'conflict' } })
      expect(await ask('GET', pathOf('wants-it'))).toMatchObject({ status: 404 })
      expect((await ask('GET', '/v1/users?q=taken-one')).body.users).toMatchObject([{ id }])
    })

    it('[EXT1] concurrent requests create one user', async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => put('rush')))
      expect(new Set(answers.map(({ body }) => (body.user as ExternalUser).id)).size).toBe(1)
    })

    it('[EXT1] no password opens a user without one', async () => {
      await put('no-password', { handle: 'no-password' })
      const response = await app.ask('POST', '/v1/session', { handle: 'no-password', password: 'anything at all' })
      expect(response.statusCode).toBe(401)
    })

    it('[ACL2] deactivates a user and ends the sessions, and activates the user again', async () => {
      const { user } = (await put('to-deactivate')).body as { user: ExternalUser }
      await sql(
        `insert into sessions (id, user_id, token_hash, expires_at) values ($1, $2, $3, now() + interval '1 day')`,
        [randomUUID(), user.id, Buffer.from('deactivated')],
      )
      expect((await put('to-deactivate', { deactivated: true })).body.user.deactivated).toBe(true)
      expect(await sql('select 1 from sessions where user_id = $1 and revoked_at is null', [user.id])).toEqual([])
      expect((await put('to-deactivate', { name: 'Still' })).body.user).toMatchObject({
        deactivated: true,
        name: 'Still',
      })
      expect((await put('to-deactivate', { deactivated: false })).body.user.deactivated).toBe(false)
    })

    it('[ERASE2] erases a user, and then the external id is free', async () => {
      const { id } = (await put('leaver', { name: 'Secret', avatar: 'https://x.test/a.png' })).body.user
      const reads = (await createKey('read,write')).secret
      expect((await ask('DELETE', pathOf('leaver'), undefined, {}, reads)).status).toBe(403)
      expect(await ask('DELETE', pathOf('leaver'))).toEqual({ status: 204, body: undefined })
      const { user } = (await ask('GET', pathOf('leaver'))).body
      expect(user).toMatchObject({ id, erasing: true, name: 'Deleted user', avatar: null })
      expect(await put('leaver')).toMatchObject({ status: 409, body: { code: 'conflict' } })
      expect((await ask('DELETE', pathOf('leaver'))).status).toBe(204)
      const announce = (): void => undefined
      const parts = { database: store.database, log: openLog(store.database), feeds: { announce } }
      for await (const _step of eraseUser({ ...parts, announceRevoked: announce }, id));
      expect((await ask('GET', pathOf('leaver'))).status).toBe(404)
      expect((await ask('DELETE', pathOf('leaver'))).status).toBe(204)
      expect((await ask('GET', `/v1/users/${id}`)).body.user).toMatchObject({ name: 'Deleted user', avatar: null })
      const again = await put('leaver', { name: 'New' })
      expect(again).toMatchObject({ status: 201, body: { user: { name: 'New', erasing: false } } })
      expect(again.body.user.id).not.toBe(id)
      const { cookie } = await app.signUp('password-account')
      expect(cookie).not.toBe('')
      expect((await ask('DELETE', pathOf('password-account'))).status).toBe(404)
    })

    it('[EXT1] refuses to change a user who is being erased', async () => {
      await put('erased')
      await sql(`update users set erasing_since = now() where external_id = 'erased'`)
      expect(await put('erased', { name: 'Back' })).toMatchObject({ status: 409, body: { code: 'conflict' } })
      expect((await ask('GET', pathOf('erased'))).body.user).toMatchObject({ erasing: true, name: 'Ada' })
      expect(await ask('GET', '/v1/users?q=x', undefined, { 'chorus-as': 'erased' })).toMatchObject({ status: 404 })
    })

    it('lists users page by page', async () => {
      const seen: string[] = []
      let page: string | undefined
      do {
        const { body } = await ask('GET', `/v1/admin/users?limit=7${page === undefined ? '' : `&page=${page}`}`)
        expect(body.users.length).toBeLessThanOrEqual(7)
        seen.push(...(body.users as ExternalUser[]).map(({ externalId }) => externalId ?? ''))
        page = body.next
      } while (page !== undefined)
      const all = await sql<{ external_id: string }>(
        'select external_id from users where external_id is not null order by id',
      )
      expect(seen).toEqual(all.map(({ external_id }) => external_id))
      expect(await ask('GET', '/v1/admin/users?page=xyz')).toMatchObject({ status: 400 })
    })
  })

  describe('many users at once', () => {
    const bulk = (users: readonly object[], headers = {}, secret = key.secret): Promise<Answer> =>
      ask('POST', '/v1/admin/users', { users }, headers, secret)

    it('[EXT1] puts 1000 users, with one result each', async () => {
      const users = Array.from({ length: 1_000 }, (_, n) => ({ externalId: `bulk-${n}`, name: `User ${n}` }))
      const { status, body } = await bulk(users)
      expect(status).toBe(200)
      const { results } = body as { results: { externalId: string; user: ExternalUser }[] }
      expect(results.map(({ user }) => user.name)).toEqual(users.map(({ name }) => name))
      expect(await bulk(users)).toEqual({ status: 200, body: { results } })
      expect((await bulk([...users, { externalId: 'more', name: 'x' }])).status).toBe(413)
    }, 60_000)

    it('[EXT1] a refused user does not affect the others', async () => {
      await app.signUp('occupied')
      const { body } = await bulk([
        { externalId: 'b-1', name: 'One', handle: 'b-one' },
        { externalId: 'b-2', name: 'Two', handle: 'OCCUPIED' },
        { externalId: 'b-3', name: 'Three', handle: 'B-ONE' },
        { externalId: 'b-4', name: 'Four' },
        { externalId: 'b-4', name: 'Four again' },
      ])
      const conflict = { code: 'conflict', message: 'unable to put user; the handle is taken', retry: 'never' }
      expect(body.results).toMatchObject([
        { externalId: 'b-1', user: { handle: 'b-one' } },
        { externalId: 'b-2', error: conflict },
        { externalId: 'b-3', error: conflict },
        { externalId: 'b-4', error: { code: 'invalid' } },
        { externalId: 'b-4', user: { name: 'Four again' } },
      ])
    })

    it('[ACL2] [KEY1] stops at the next hundred when its key is revoked', async () => {
      const { id, secret } = await createKey('write')
      const users = Array.from({ length: 250 }, (_, n) => ({ externalId: `stop-${n}`, name: 'x' }))
      const { keys } = app.parts
      const isLive = keys.isLive.bind(keys)
      let checks = 0
      keys.isLive = async (checked) => {
        checks++
        if (checks === 3) {
          await keysCommand.readAction(['revoke', id])(store.database)
          app.clock.advance(registryTimings.trustedMs)
        }
        return isLive(checked)
      }
      const { body } = await bulk(users, {}, secret).finally(() => (keys.isLive = isLive))
      const { results } = body as { results: { user?: ExternalUser; error?: { code: string } }[] }
      expect(results.map(({ user }) => user !== undefined)).toEqual(users.map((_, n) => n < 200))
      expect(results.at(-1)?.error?.code).toBe('unauthenticated')
      expect(await sql(`select 1 from users where external_id like 'stop-%'`)).toHaveLength(200)
    }, 30_000)

    it('[LIM1] only this path accepts a megabyte', async () => {
      const large = { users: [{ externalId: 'large', name: 'x' }], more: 'x'.repeat(200_000) }
      expect((await ask('POST', '/v1/admin/users', large)).status).toBe(400)
      expect((await ask('POST', '/v1/admin/users', { users: 'x'.repeat(1_100_000) })).status).toBe(413)
      expect((await put('large', { name: 'x'.repeat(200_000) })).status).toBe(413)
    })
  })

  describe('revoked tokens', () => {
    it('[ACL2] refuses tokens up to now, ends the sessions and announces them', async () => {
      const { user } = (await put('revoked')).body as { user: ExternalUser }
      const sessions = [randomUUID(), randomUUID()]
      for (const id of sessions)
        await sql(
          `insert into sessions (id, user_id, token_hash, expires_at) values ($1, $2, $3, now() + interval '1 day')`,
          [id, user.id, Buffer.from(id)],
        )
      const before = Math.floor(Date.now() / 1_000)
      expect(await ask('POST', `${pathOf('revoked')}/revoke-tokens`)).toEqual({ status: 204, body: undefined })
      expect(app.revoked.slice(-2).sort()).toEqual([...sessions].sort())
      expect(await sql('select 1 from sessions where user_id = $1 and revoked_at is null', [user.id])).toEqual([])
      const [row] = await sql<{ after: string }>('select tokens_after::text as after from users where id = $1', [
        user.id,
      ])
      expect(Number(row?.after)).toBeGreaterThanOrEqual(before - 1)
      await sql('update users set newest_token = 9999999999 where id = $1', [user.id])
      await ask('POST', `${pathOf('revoked')}/revoke-tokens`)
      expect(await sql('select tokens_after::text as after from users where id = $1', [user.id])).toEqual([
        { after: '9999999999' },
      ])
      expect(await ask('POST', `${pathOf('missing')}/revoke-tokens`)).toMatchObject({ status: 404 })
    })
  })

  describe('Idempotency-Key', () => {
    const withKey = (name: string, more = {}) => ({ 'idempotency-key': name, ...more })

    it('[IDEM3] answers a repeated request with the first response', async () => {
      const first = await put('idem-1', { name: 'First' }, withKey('k-1'))
      await put('idem-1', { name: 'Later' })
      expect(first.status).toBe(201)
      expect(await put('idem-1', { name: 'First' }, withKey('k-1'))).toEqual(first)
      expect((await ask('GET', pathOf('idem-1'))).body.user.name).toBe('Later')
      const revoke = `${pathOf('idem-1')}/revoke-tokens`
      expect(await ask('POST', revoke, undefined, withKey('k-1'))).toEqual({ status: 204, body: undefined })
      expect(await ask('POST', revoke, undefined, withKey('k-1'))).toEqual({ status: 204, body: undefined })
    })

    it('[IDEM3] refuses the same key with another body', async () => {
      await put('idem-2', { name: 'First' }, withKey('k-2'))
      expect(await put('idem-2', { name: 'Second' }, withKey('k-2'))).toMatchObject({
        status: 409,
        body: { code: 'conflict', detail: 'unable to answer; this Idempotency-Key was used with another body' },
      })
    })

    it('[IDEM3] one key is separate for each API key, path and Chorus-As', async () => {
      await put('idem-a', {}, withKey('k-3'))
      await put('idem-b', {}, withKey('k-3'))
      const rename = async (user: string): Promise<string> =>
        (await ask('PATCH', '/v1/users/me', { name: 'Same' }, withKey('k-3', { 'chorus-as': user }))).body.user.id
      expect(await rename('idem-a')).not.toBe(await rename('idem-b'))
      const other = await createKey('write')
      expect((await put('idem-a', {}, withKey('k-3'), other.secret)).status).toBe(200)
    })

    it('[IDEM3] keeps a final refusal, but no temporary error', async () => {
      await app.signUp('idem-taken')
      const refused = await put('idem-4', { handle: 'idem-taken' }, withKey('k-4'))
      expect(refused.status).toBe(409)
      await sql(`update users set handle = 'idem-free' where handle = 'idem-taken'`)
      expect(await put('idem-4', { handle: 'idem-taken' }, withKey('k-4'))).toMatchObject({
        status: 409,
        body: { detail: refused.body.detail },
      })
      const { keys } = app.parts
      const isLive = keys.isLive.bind(keys)
      keys.isLive = () => Promise.reject(new Error('down'))
      const bulk = () =>
        ask('POST', '/v1/admin/users', { users: [{ externalId: 'idem-5', name: 'x' }] }, withKey('k-5'))
      expect((await bulk().finally(() => (keys.isLive = isLive))).status).toBe(504)
      expect(await bulk()).toMatchObject({ status: 200, body: { results: [{ user: { externalId: 'idem-5' } }] } })
    })

    it('[IDEM3] concurrent requests run once', async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => put('idem-6', {}, withKey('k-6'))))
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 201))
      expect(await sql(`select 1 from idempotency_keys where key = 'k-6'`)).toHaveLength(1)
    })

    it('[IDEM3] [LIM1] forgets a response after 24 hours', async () => {
      await put('idem-7', { name: 'First' }, withKey('k-7'))
      await put('idem-8', { name: 'First' }, withKey('k-8'))
      await sql(`update idempotency_keys set created_at = now() - interval '25 hours' where key in ('k-7', 'k-8')`)
      expect(await put('idem-7', { name: 'Other' }, withKey('k-7'))).toMatchObject({ status: 200 })
      expect(await pruneCalls(store.database)).toBe(1)
      expect(await sql(`select 1 from idempotency_keys where key = 'k-8'`)).toEqual([])
    })

    it('[IDEM3] a request whose server has ended runs again', async () => {
      await put('idem-9', { name: 'First' }, withKey('k-9'))
      await sql(
        `update idempotency_keys set status = 0, body = null, created_at = now() - interval '2 minutes' where key = 'k-9'`,
      )
      expect(await put('idem-9', { name: 'First' }, withKey('k-9'))).toMatchObject({ status: 200 })
    })

    it.each(['', 'two words', 'x'.repeat(256), 'ä'])('[IDEM3] refuses the key %j', async (name) => {
      expect(await put('idem-10', {}, withKey(name))).toMatchObject({ status: 400, body: { code: 'invalid' } })
    })
  })
})
