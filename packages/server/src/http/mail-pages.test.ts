/** Tests the mail settings over HTTP, and the pages behind the links in mails. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { confirmEmail } from '../commands/users/confirm-email.ts'
import { getNotifications } from '../commands/conversations/get-notifications.ts'
import { setNotifications } from '../commands/conversations/set-notifications.ts'
import { createConfirmationToken, signUnsubscribe } from '../jobs/mail-links.ts'
import { startConfirmation } from '../jobs/mail.ts'
import { openTestDatabase, type TestDatabase } from '../database/testing/open-test-database.ts'
import { addMailPages } from './mail-pages.ts'
import { startTestApp, type TestApp } from './testing/start-test-app.ts'

const key = 'the key of this database'

describe('mail settings and mail pages over HTTP', () => {
  let store: TestDatabase
  let app: TestApp
  let person: { id: string; cookie: string }
  const hinted: string[] = []
  let count = 0

  beforeAll(async () => {
    store = await openTestDatabase('embedded')
    app = await startTestApp(store.database, {
      environment: { PUBLIC_URL: 'https://chat.example' },
      handlers: {
        'confirm-email': confirmEmail.run,
        'get-notifications': getNotifications.run,
        'set-notifications': setNotifications.run,
      },
      extend: (scope) =>
        addMailPages(scope, {
          database: store.database,
          limits: { takeRequest: () => undefined },
          addressOf: () => '127.0.0.1',
          key,
        } as unknown as Parameters<typeof addMailPages>[1]),
    })
    Object.assign(app.parts, { mail: { hint: (mail: string) => void hinted.push(mail) } })
  })
  afterAll(async () => {
    await app.close()
    await store.close()
  })
  beforeEach(async () => {
    person = await app.signUp(`person-${++count}`)
    hinted.length = 0
  })

  const set = (body: unknown, cookie = person.cookie) => app.ask('PUT', '/v1/notifications', body, { cookie })
  const read = async () => (await app.ask('GET', '/v1/notifications', undefined, { cookie: person.cookie })).json()

  /** Creates a confirmation link, and returns its token as a mail would contain it. */
  async function mailedToken(email: string): Promise<string> {
    const { token, hash } = createConfirmationToken()
    expect(await startConfirmation(store.database, { user: person.id, address: email, hash, validMs: 60_000 })).toBe(
      true,
    )
    return token
  }

  it('shows the mail address only to its user, and in no profile', async () => {
    expect((await app.ask('GET', '/v1/notifications')).statusCode).toBe(401)
    expect(await read()).toEqual({ email: null, confirmed: false, digest: 'off' })
    const email = `person-${count}@example.org`
    const answer = await set({ email, digest: 'on' })
    expect(answer.json()).toEqual({ email, confirmed: false, digest: 'on' })
    expect(hinted).toHaveLength(1)
    const profile = await app.ask('GET', `/v1/users/${person.id}`, undefined, { cookie: person.cookie })
    expect(profile.body).not.toContain('example.org')
    expect(JSON.stringify(Object.keys(profile.json()))).not.toContain('mail')
  })

  it('refuses an invalid mail address quickly', async () => {
    const wrong = [
      '',
      'a',
      'a@b',
      'a@b.c d',
      'a b@c.org',
      'a@c.org\r\nBcc: x@y.org',
      '<a@c.org>',
      'a@-c.org',
      `${'a'.repeat(65)}@c.org`,
    ]
    for (const email of wrong) expect((await set({ email, digest: 'on' })).statusCode, email).toBe(400)
    expect((await set({ email: `${'a'.repeat(50_000)}!`, digest: 'on' })).statusCode).toBe(400)
    expect((await set({ email: { $gt: '' }, digest: 'on' })).statusCode).toBe(400)
    expect((await set({ email: 'a@c.org', digest: 'on', confirmed: true })).statusCode).toBe(400)
    expect(hinted).toEqual([])
  })

  it('limits how often confirmation links are mailed, and returns the time to wait', async () => {
    expect((await set({ email: `first-${count}@example.org`, digest: 'on' })).statusCode).toBe(200)
    const answer = await set({ email: `second-${count}@example.org`, digest: 'on' })
    expect(answer.statusCode).toBe(429)
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(30)
    expect((await read()).email).toBe(`first-${count}@example.org`)
  })

  it('opening a mailed link confirms nothing; a POST confirms once', async () => {
    const email = `person-${count}@example.org`
    await set({ email, digest: 'on' })
    const token = await mailedToken(email)
    const url = `/mail/confirm?token=${token}`
    // Mail scanners open links with GET, which must confirm nothing.
    const page = await app.ask('GET', url)
    expect(page.statusCode).toBe(200)
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(page.body).not.toContain(token)
    expect(await read()).toMatchObject({ confirmed: false })
    const form = { 'content-type': 'application/x-www-form-urlencoded', origin: 'https://chat.example' }
    expect((await app.ask('POST', url, '', form)).statusCode).toBe(200)
    expect(await read()).toEqual({ email, confirmed: true, digest: 'on' })
    expect((await app.ask('POST', url, '', form)).statusCode).toBe(404)
  })

  it('confirms a mailed token once over the HTTP API', async () => {
    const email = `person-${count}@example.org`
    await set({ email, digest: 'off' })
    const token = await mailedToken(email)
    const confirm = (body: unknown) => app.ask('POST', '/v1/notifications/confirm', body)
    expect((await confirm({ token: createHash('sha256').update('x').digest('base64url') })).statusCode).toBe(404)
    expect((await confirm({ token: 'short' })).statusCode).toBe(400)
    expect((await confirm({ token })).statusCode).toBe(204)
    expect((await confirm({ token })).statusCode).toBe(404)
    expect(await read()).toEqual({ email, confirmed: true, digest: 'off' })
  })

  it('a single POST stops the digest, unless the token is forged (RFC 8058)', async () => {
    const email = `person-${count}@example.org`
    await set({ email, digest: 'on' })
    const post = (token: string) =>
      app.ask('POST', `/mail/unsubscribe?token=${token}`, 'List-Unsubscribe=One-Click', {
        'content-type': 'application/x-www-form-urlencoded',
      })
    for (const forged of [signUnsubscribe(person.id, 'another key'), `${person.id}.`, 'x', ''])
      expect((await post(forged)).statusCode).toBe(404)
    expect(await read()).toMatchObject({ digest: 'on' })
    expect((await post(signUnsubscribe(person.id, key))).statusCode).toBe(200)
    expect(await read()).toMatchObject({ digest: 'off' })
  })

  it('refuses a mail address if the server sends no mail', async () => {
    Object.assign(app.parts, { mail: undefined })
    try {
      expect((await set({ email: 'a@example.org', digest: 'on' })).statusCode).toBe(403)
      expect((await set({ email: null, digest: 'off' })).statusCode).toBe(200)
    } finally {
      Object.assign(app.parts, { mail: { hint: (mail: string) => void hinted.push(mail) } })
    }
  })
})
