/** Tests accounts, sessions and profiles over HTTP, on every engine. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import type { TestDatabase } from '../database/testing/open-test-database.ts'
import { cookieOf, startTestApp } from './testing/start-test-app.ts'
import type { TestApp } from './testing/start-test-app.ts'

describe.each(testEngines)('accounts, sessions and profiles on the %s engine', (engine) => {
  let store: TestDatabase
  let app: TestApp

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    app = await startTestApp(store.database)
  })

  afterAll(async () => {
    await app.close()
    await store.close()
  })

  async function query<Row>(text: string, values: unknown[] = []): Promise<Row[]> {
    return store.database.query<Row>({ text, values })
  }

  describe('sign-up', () => {
    it('creates an account and signs it in with an HttpOnly, SameSite cookie', async () => {
      const response = await app.ask('POST', '/v1/users', {
        handle: 'Anna',
        password: 'correct horse',
        name: 'Anna A.',
      })
      expect(response.statusCode).toBe(201)
      expect(response.json()).toEqual({
        user: { id: expect.any(String), handle: 'Anna', name: 'Anna A.', avatar: null, bot: false },
      })
      const setCookie = String(response.headers['set-cookie'])
      expect(setCookie).toMatch(/^chorus_session=/)
      expect(setCookie).toContain('HttpOnly')
      expect(setCookie).toContain('SameSite=Lax')
      expect(setCookie).toContain('Path=/')
      expect(setCookie).not.toContain('Secure')
      // `Max-Age` is a duration, so the cookie also lives long enough on a device with a wrong
      // clock.
      expect(setCookie).toMatch(/; Max-Age=\d{6,}(;|$)/)
      const me = await app.ask('GET', '/v1/session', undefined, { cookie: cookieOf(response) })
      expect(me.statusCode).toBe(200)
      expect(me.json()).toMatchObject({ user: { handle: 'Anna' }, session: { current: true } })
    })

    it('refuses a taken handle, ignoring case', async () => {
      await app.signUp('taken')
      const response = await app.ask('POST', '/v1/users', { handle: 'TAKEN', password: 'correct horse', name: 'x' })
      expect(response.statusCode).toBe(409)
      expect(response.json()).toMatchObject({ code: 'conflict', retry: 'never', status: 409 })
      expect(response.headers['set-cookie']).toBeUndefined()
    })

    it('creates one account for concurrent sign-ups with the same handle', async () => {
      const attempts = Array.from({ length: 8 }, () =>
        app.ask('POST', '/v1/users', { handle: 'rush', password: 'correct horse', name: 'x' }),
      )
      const statuses = (await Promise.all(attempts)).map(({ statusCode }) => statusCode).sort()
      expect(statuses).toEqual([201, 409, 409, 409, 409, 409, 409, 409])
    })

    it('refuses new accounts when sign-up is closed', async () => {
      const closed = await startTestApp(store.database, { environment: { SIGN_UP: 'closed' } })
      const response = await closed.ask('POST', '/v1/users', { handle: 'late', password: 'correct horse', name: 'x' })
      expect([response.statusCode, response.json().code]).toEqual([403, 'forbidden'])
      await closed.close()
    })
  })

  describe('sign-in', () => {
    it('gives an unknown handle and a wrong password the same response', async () => {
      await app.signUp('known')
      const wrong = await app.ask('POST', '/v1/session', { handle: 'known', password: 'wrong horse' })
      const unknown = await app.ask('POST', '/v1/session', { handle: 'stranger', password: 'wrong horse' })
      expect(wrong.statusCode).toBe(401)
      expect(unknown.statusCode).toBe(401)
      expect(unknown.json()).toEqual(wrong.json())
      expect(unknown.headers['set-cookie']).toBeUndefined()
    })

    it('never keeps a session id that came with the sign-in request', async () => {
      await app.signUp('victim')
      const attacker = await app.signUp('attacker')
      const planted = [
        attacker.cookie,
        'chorus_session=planted',
        `chorus_session=${app.authenticator.signer.sign('planted')}`,
      ]
      for (const cookie of planted) {
        const response = await app.ask(
          'POST',
          '/v1/session',
          { handle: 'victim', password: 'correct horse' },
          { cookie },
        )
        expect(response.statusCode).toBe(200)
        expect(cookieOf(response)).not.toBe('')
        expect(cookieOf(response)).not.toBe(cookie)
        expect(response.cookies).toHaveLength(1)
        const byPlanted = await app.ask('GET', '/v1/session', undefined, { cookie })
        expect(byPlanted.statusCode).toBe(401)
        const own = await app.ask('GET', '/v1/session', undefined, { cookie: cookieOf(response) })
        expect(own.json().user.handle).toBe('victim')
      }
    })

    it('accepts a password whose accents have another Unicode form', async () => {
      await app.ask('POST', '/v1/users', { handle: 'accent', password: 'caf\u00e9 creme', name: 'x' })
      const response = await app.ask('POST', '/v1/session', { handle: 'accent', password: 'cafe\u0301 creme' })
      expect(response.statusCode).toBe(200)
    })

    it('stores only a hash of the session token in the cookie', async () => {
      const { cookie } = await app.signUp('hashed')
      const token = decodeURIComponent(cookie.split('=')[1]!).split('.')[0]!
      const rows = await query<{ row: string }>('select row_to_json(s)::text as row from sessions s')
      expect(rows.length).toBeGreaterThan(0)
      expect(rows.every(({ row }) => !row.includes(token))).toBe(true)
    })

    it('only sign-in sets a session cookie; other requests neither set nor change it', async () => {
      const { cookie } = await app.signUp('steady')
      for (let n = 0; n < 3; n++) {
        const used = await app.ask('GET', '/v1/session', undefined, { cookie })
        expect(used.headers['set-cookie']).toBeUndefined()
      }
      const strangers = [
        await app.ask('GET', '/v1/session'),
        await app.ask('GET', '/'),
        await app.ask('GET', '/nothing'),
      ]
      for (const response of strangers) expect(response.headers['set-cookie']).toBeUndefined()
    })

    it('sets a Secure cookie with the __Host- prefix behind a TLS proxy', async () => {
      const secure = await startTestApp(store.database, { environment: { PUBLIC_URL: 'https://chat.example' } })
      const { cookie } = await secure.signUp('secure')
      expect(cookie).toMatch(/^__Host-chorus_session=/)
      const again = await secure.ask('POST', '/v1/session', { handle: 'secure', password: 'correct horse' })
      expect(String(again.headers['set-cookie'])).toMatch(/Path=\/; .*HttpOnly; Secure; SameSite=Lax/)
      expect((await secure.ask('GET', '/v1/session', undefined, { cookie })).statusCode).toBe(200)
      await secure.close()
    })

    it('limits password attempts by account and by address', async () => {
      const limited = await startTestApp(store.database, {
        environment: { LIMIT_SIGN_INS: '3', LIMIT_SIGN_INS_ADDRESS: '5' },
      })
      const guess = (handle: string) => limited.ask('POST', '/v1/session', { handle, password: 'guess' })
      const statuses: number[] = []
      for (let n = 0; n < 4; n++) statuses.push((await guess('known')).statusCode)
      expect(statuses).toEqual([401, 401, 401, 429])
      const refused = await guess('known')
      expect(refused.json()).toMatchObject({ code: 'rate-limited', retry: 'later' })
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
      expect((await guess('somebody-else')).statusCode).toBe(429)
      limited.clock.advance(60_000)
      expect((await guess('known')).statusCode).toBe(401)
      await limited.close()
    })
  })

  describe('[ACL2] sessions of a user', () => {
    it('sign-out ends a session at once and permanently', async () => {
      const { cookie } = await app.signUp('leaver')
      const session = (await app.ask('GET', '/v1/session', undefined, { cookie })).json().session
      const response = await app.ask('DELETE', '/v1/session', undefined, { cookie })
      expect(String(response.headers['set-cookie'])).toMatch(/^chorus_session=;.*Max-Age=0(;|$)/)
      expect(response.statusCode).toBe(204)
      expect(response.body).toBe('')
      expect(String(response.headers['set-cookie'])).toMatch(/^chorus_session=;/)
      expect(app.revoked).toContain(session.id)
      const after = await app.ask('GET', '/v1/session', undefined, { cookie })
      expect([after.statusCode, after.json().code]).toEqual([401, 'unauthenticated'])
    })

    it('a user can list and revoke only own sessions', async () => {
      const { cookie } = await app.signUp('many')
      const other = await app.ask(
        'POST',
        '/v1/session',
        { handle: 'many', password: 'correct horse' },
        { 'user-agent': 'Phone\tX' },
      )
      const { sessions } = (await app.ask('GET', '/v1/sessions', undefined, { cookie })).json()
      expect(sessions).toHaveLength(2)
      expect(sessions.filter(({ current }: { current: boolean }) => current)).toHaveLength(1)
      const phone = other.json().session
      expect(phone).toMatchObject({ userAgent: 'Phone X', current: true })

      const stranger = await app.signUp('stranger2')
      const refused = await app.ask('DELETE', `/v1/sessions/${phone.id}`, undefined, { cookie: stranger.cookie })
      expect(refused.statusCode).toBe(404)

      expect((await app.ask('DELETE', `/v1/sessions/${phone.id}`, undefined, { cookie })).statusCode).toBe(204)
      expect(app.revoked).toContain(phone.id)
      expect((await app.ask('GET', '/v1/session', undefined, { cookie: cookieOf(other) })).statusCode).toBe(401)
      expect((await app.ask('GET', '/v1/session', undefined, { cookie })).statusCode).toBe(200)
      // A repeated request to revoke a session changes nothing and gets the same response.
      const [before] = await query<{ xid: string }>('select xid from sessions where id = $1', [phone.id])
      expect((await app.ask('DELETE', `/v1/sessions/${phone.id}`, undefined, { cookie })).statusCode).toBe(204)
      expect(await query('select xid from sessions where id = $1', [phone.id])).toEqual([before])
    })

    it('refuses an expired session and a disabled user', async () => {
      const expired = await app.signUp('expired')
      await query(`update sessions set expires_at = now() where user_id = $1`, [expired.id])
      expect((await app.ask('GET', '/v1/session', undefined, { cookie: expired.cookie })).statusCode).toBe(401)
      const disabled = await app.signUp('disabled')
      await query(`update users set disabled_at = now() where id = $1`, [disabled.id])
      expect((await app.ask('GET', '/v1/session', undefined, { cookie: disabled.cookie })).statusCode).toBe(401)
      expect(await app.authenticator.authenticate(disabled.cookie)).toBeUndefined()
      const back = await app.ask('POST', '/v1/session', { handle: 'disabled', password: 'correct horse' })
      expect(back.statusCode).toBe(401)
      expect(
        (await app.ask('GET', `/v1/users/${disabled.id}`, undefined, { cookie: (await app.signUp('looker')).cookie }))
          .statusCode,
      ).toBe(404)
    })

    it('revoking a session marks its row for the sweep, but using the session does not', async () => {
      const { id, cookie } = await app.signUp('marked')
      const read = async () =>
        (
          await query<{ xid: string; used: string }>(
            'select xid, last_used_at as used from sessions where user_id = $1',
            [id],
          )
        )[0]!
      await query(`update sessions set last_used_at = now() - interval '1 hour' where user_id = $1`, [id])
      const before = await read()
      await app.ask('GET', '/v1/session', undefined, { cookie })
      app.clock.advance(2_000)
      await expect.poll(async () => (await read()).used > before.used).toBe(true)
      expect((await read()).xid).toBe(before.xid)
      await app.ask('DELETE', '/v1/session', undefined, { cookie })
      expect(BigInt((await read()).xid)).toBeGreaterThan(BigInt(before.xid))
    })
  })

  describe('session data', () => {
    it('merges the top-level keys of session data and stores them', async () => {
      const { cookie } = await app.signUp('data')
      expect((await app.ask('GET', '/v1/session/data', undefined, { cookie })).json()).toEqual({ data: {} })
      await app.ask('PATCH', '/v1/session/data', { theme: 'dark', panel: { open: true } }, { cookie })
      const merged = await app.ask('PATCH', '/v1/session/data', { panel: { wide: true }, n: 1.5 }, { cookie })
      expect(merged.json()).toEqual({ data: { theme: 'dark', panel: { wide: true }, n: 1.5 } })
      expect((await app.ask('GET', '/v1/session/data', undefined, { cookie })).json()).toEqual(merged.json())
    })

    it('loses no session data under concurrent writes', async () => {
      const { cookie } = await app.signUp('data-race')
      await Promise.all(
        Array.from({ length: 20 }, (_, n) => app.ask('PATCH', '/v1/session/data', { [`key${n}`]: n }, { cookie })),
      )
      const { data } = (await app.ask('GET', '/v1/session/data', undefined, { cookie })).json()
      expect(Object.keys(data)).toHaveLength(20)
    })

    it('accepts at most 8192 bytes of session data', async () => {
      const { cookie } = await app.signUp('data-size')
      const patch = (data: unknown) => app.ask('PATCH', '/v1/session/data', data, { cookie })
      const list = Array.from({ length: 100 }, () => ({ 'a, b: "c" \\ ': [1, 2, 3] }))
      const first = { list }
      const room = 8_192 - JSON.stringify({ list, rest: '' }).length
      expect((await patch(first)).statusCode).toBe(200)
      const over = await patch({ rest: 'x'.repeat(room + 1) })
      expect([over.statusCode, over.json().code]).toEqual([413, 'too-large'])
      expect((await app.ask('GET', '/v1/session/data', undefined, { cookie })).json()).toEqual({ data: first })
      expect((await patch({ rest: 'x'.repeat(room) })).statusCode).toBe(200)
      expect((await patch({ big: 'x'.repeat(8_192) })).statusCode).toBe(413)
    })

    it.each([['text'], [[1]], [null], [7]])('refuses session data that is not an object: %j', async (body) => {
      const { cookie } = await app.signUp(`data-${JSON.stringify(body).replaceAll(/\W/g, '')}x`)
      const response = await app.ask('PATCH', '/v1/session/data', JSON.stringify(body), { cookie })
      expect([response.statusCode, response.json().code]).toEqual([400, 'invalid'])
    })
  })

  describe('profiles', () => {
    it('finds users by ids, or by the start of handle or name, ignoring case', async () => {
      const me = await app.signUp('Zoe.finder')
      const zed = await app.ask('POST', '/v1/users', {
        handle: 'q1',
        password: 'correct horse',
        name: 'Zo\u00eb \u5f20\u4f1f',
      })
      const find = async (search: string) => {
        const response = await app.ask('GET', `/v1/users?${search}`, undefined, { cookie: me.cookie })
        expect(response.statusCode).toBe(200)
        return response.json().users.map(({ handle }: { handle: string }) => handle)
      }
      expect(await find('q=ZOE')).toEqual(['Zoe.finder'])
      expect(await find('q=zo')).toEqual(['q1', 'Zoe.finder'])
      expect(await find(`q=${encodeURIComponent('zo\u00eb \u5f20')}`)).toEqual(['q1'])
      expect(await find('q=finder')).toEqual([])
      expect(await find('q=%25')).toEqual([])
      expect(await find('q=_oe')).toEqual([])
      expect(await find('q=zo&limit=1')).toHaveLength(1)
      expect(await find(`ids=${me.id},${zed.json().user.id},00000000-0000-7000-8000-000000000000`)).toHaveLength(2)
      expect(await find('ids=')).toEqual([])
      expect((await find('')).length).toBeGreaterThan(2)
    })

    it('the search for users uses the database indexes on handle and name', async () => {
      await query(`insert into users (id, handle, name, password_hash)
                   select gen_random_uuid(), 'crowd' || n, 'Person ' || n, '' from generate_series(1, 5000) n`)
      await store.database.script('analyze users')
      for (const [column, index] of [
        ['handle', 'users_handle_prefix'],
        ['name', 'users_name_prefix'],
      ]) {
        const plan = await query(
          `explain select id from users
            where lower(${column}) ~>=~ lower($1) and lower(${column}) ~<~ (lower($1) || $2) and disabled_at is null
            order by lower(${column}) using ~<~ limit $3`,
          ['crowd77', '\u{10ffff}', 50],
        )
        expect(JSON.stringify(plan)).toContain(index)
      }
    })

    it('a user can change the own profile; fields that the request omits stay unchanged', async () => {
      const me = await app.signUp('changer')
      await app.signUp('not-free')
      const change = (body: unknown) => app.ask('PATCH', '/v1/users/me', body, { cookie: me.cookie })
      expect((await change({ name: 'New' })).json().user).toMatchObject({
        handle: 'changer',
        name: 'New',
        avatar: null,
      })
      expect((await change({ avatar: 'https://pics.example/a.png' })).json().user).toMatchObject({
        name: 'New',
        avatar: 'https://pics.example/a.png',
      })
      expect((await change({ handle: 'Changed', avatar: null })).json().user).toEqual({
        id: me.id,
        handle: 'Changed',
        name: 'New',
        avatar: null,
        bot: false,
      })
      expect((await change({})).json().user.handle).toBe('Changed')
      expect((await change({ handle: 'NOT-free' })).statusCode).toBe(409)
      expect((await change({ handle: 'changed' })).statusCode).toBe(200)
    })

    it.each([
      { avatar: 'javascript:alert(1)' },
      { avatar: '//evil.example/x' },
      { avatar: 'data:text/html,x' },
      { name: 'a\u202eb' },
      { name: 'a\u0000b' },
      { name: '   ' },
      { handle: '<b>' },
      { id: '00000000-0000-7000-8000-000000000000' },
      { password_hash: 'x' },
    ])('refuses the profile change %j', async (body) => {
      const me = await app.signUp(`bad${Math.random().toString(36).slice(2)}`)
      const response = await app.ask('PATCH', '/v1/users/me', body, { cookie: me.cookie })
      expect([response.statusCode, response.json().code]).toEqual([400, 'invalid'])
    })

    it('shows only id, handle, name and picture of a user', async () => {
      const me = await app.signUp('shown')
      const bodies = [
        await app.ask('GET', `/v1/users/${me.id}`, undefined, { cookie: me.cookie }),
        await app.ask('GET', '/v1/session', undefined, { cookie: me.cookie }),
        await app.ask('GET', '/v1/users?q=shown', undefined, { cookie: me.cookie }),
        await app.ask('GET', '/v1/sessions', undefined, { cookie: me.cookie }),
      ].map(({ body }) => body)
      for (const body of bodies) expect(body).not.toMatch(/password|argon2|token_?hash|email/i)
      expect(JSON.parse(bodies[0]!)).toEqual({
        user: { id: me.id, handle: 'shown', name: 'shown', avatar: null, bot: false },
      })
    })

    it('requests for users and sessions require a session', async () => {
      for (const url of [
        '/v1/users?q=a',
        '/v1/users/00000000-0000-7000-8000-000000000000',
        '/v1/session',
        '/v1/sessions',
        '/v1/session/data',
      ]) {
        const response = await app.ask('GET', url)
        expect([response.statusCode, response.headers['content-type']]).toEqual([
          401,
          'application/problem+json; charset=utf-8',
        ])
      }
    })
  })

  it('logs no cookie, session token or password', () => {
    const log = app.logLines.join('')
    expect(log.length).toBeGreaterThan(1_000)
    expect(log).not.toMatch(/correct horse|chorus_session=|argon2id/)
  })
})
