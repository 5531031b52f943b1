/**
 * Tests digests end to end, from the change log to a real mail server, and what a mail must never
 * contain.
 */
import { hasRedis, startRedis } from '@chorus/testkit'
import type { Id } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { readConfig } from '../config/config.ts'
import { type Jobs, startJobs } from '../start/start-jobs.ts'
import { confirmEmail, readNotifications, setNotifications, switchDigestOff } from './mail.ts'
import { markRead } from '../log/mark-read.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { Metrics } from '../support/metrics.ts'
import { openRedis } from '../redis/open-redis.ts'
import type { Redis } from '../redis/redis.ts'
import { hashOfToken, readUnsubscribe } from './mail-links.ts'
import { type MailServer, readableMail, startMailServer } from './testing/mail-server.ts'

const patience = { timeout: 30_000, interval: 50 }
vi.setConfig({ testTimeout: 90_000 })

describe.each(testEngines)('digests to users who were away (%s)', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let mailServer: MailServer
  let sender: Id
  let count = 0
  const running: { jobs: Jobs; metrics: Metrics }[] = []
  const connected = new Set<Id>()
  const unknown = new Set<string>()

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    sender = await fixture.user('Sender')
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    mailServer = await startMailServer()
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map(({ jobs, metrics }) => jobs.stop().finally(() => metrics.stop())))
    await mailServer.close()
    await fixture.sql('delete from mails')
    await fixture.sql('delete from mail_due')
    await fixture.sql('delete from notification_settings')
    connected.clear()
    unknown.clear()
  })

  async function start(redis?: Redis, redisUrl = '', database = store.database): Promise<Jobs> {
    const epoch = await database.epoch()
    const metrics = new Metrics()
    const jobs = await startJobs({
      config: readConfig({
        DATABASE_URL: 'postgres://unused@127.0.0.1/unused',
        SMTP_URL: mailServer.url,
        MAIL_FROM: 'Chat <chat@example.org>',
        PUBLIC_URL: 'https://chat.example',
        MAIL_DELAY_S: '1',
        REDIS_URL: redisUrl,
      }),
      database,
      epoch: () => epoch,
      redis,
      now: () => new Date(),
      clock: systemClock,
      logger: createLogger('silent', 'test'),
      metrics,
      statusOf: async (user) => (unknown.has(user) ? 'unknown' : connected.has(user) ? 'online' : 'offline'),
      firstDelayMs: 200,
    })
    running.push({ jobs, metrics })
    return jobs
  }

  /** Creates a user with a confirmed mail address. */
  async function reader(name = 'Reader'): Promise<{ id: Id; email: string }> {
    const id = await fixture.user(name)
    const email = `reader-${++count}@example.org`
    await fixture.sql(
      'insert into notification_settings (user_id, email, digest, confirmed_at) values ($1, $2, true, clock_timestamp())',
      [id, email],
    )
    return { id, email }
  }

  const mailsTo = (email: string): string[] =>
    mailServer.accepted.filter(({ to }) => to === email).map(({ raw }) => readableMail(raw))

  /**
   * Waits until no user has to be checked and no mail is in progress, so that no further mail
   * follows.
   */
  async function settled(): Promise<void> {
    await expect
      .poll(async () => {
        const [row] = await fixture.sql<{ n: number }>(
          `select (select count(*) from mail_due) + (select count(*) from mails where state in ('ready', 'sending'))
                  + (select count(*) from changes c where c.xid >= (select position::text::xid8 from consumers where name = 'mail')
                      and not exists (select from consumer_progress p where p.consumer = 'mail'
                                         and p.conversation = c.conversation and p.seq >= c.seq)) as n`,
        )
        return row!.n
      }, patience)
      .toBe(0)
  }

  it('[OFF1] mails one digest per user, with unread messages of all conversations', async () => {
    const { id, email } = await reader()
    const [first, second] = [await fixture.group([sender, id]), await fixture.group([sender, id], 'direct')]
    await start()
    for (let i = 1; i <= 7; i++) await fixture.send(first, sender, `in the group, ${i}`)
    await fixture.send(second, sender, 'between us\nand a second line')
    await expect.poll(() => mailsTo(email).length, patience).toBe(1)
    const [mail] = mailsTo(email)
    expect(mail).toContain('8 unread messages in a place, Sender')
    expect(mail).toContain('2 earlier messages')
    expect(mail).toContain('Sender: in the group, 7')
    expect(mail).not.toContain('in the group, 2')
    expect(mail).toContain('Sender: between us …')
    expect(mail).toContain(`https://chat.example/c/${first}`)
    expect(mail).toMatch(/^Auto-Submitted: auto-generated\r$/im)
    expect(mail).toMatch(/^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r$/im)
    const token = /unsubscribe\?token=([\w.-]+)/.exec(mail!)![1]!
    const jobs = running[0]!.jobs
    expect(readUnsubscribe(token, jobs.mailKey)).toBe(id)
    expect(readUnsubscribe(`${sender}${token.slice(sender.length)}`, jobs.mailKey)).toBeUndefined()
    await settled()
  })

  it('[PRES1] sends no digest while the presence of the user is unknown', async () => {
    const { id, email } = await reader()
    const other = await reader('Other')
    unknown.add(id)
    const group = await fixture.group([sender, id, other.id])
    await start()
    await fixture.send(group, sender, 'hello')
    // The other user's digest proves that both users were checked.
    await expect.poll(() => mailsTo(other.email).length, patience).toBe(1)
    await expect
      .poll(async () => {
        const rows = await fixture.sql<{ n: number }>(
          'select count(*)::int as n from mail_due where user_id = $1 and due_at > clock_timestamp()',
          [id],
        )
        return rows[0]?.n
      }, patience)
      .toBe(1)
    expect(mailsTo(email)).toEqual([])
    unknown.delete(id)
    await expect.poll(() => mailsTo(email).length, patience).toBe(1)
    await settled()
  })

  it('mails no message twice and delays the next digest mail', async () => {
    const { id, email } = await reader()
    const group = await fixture.group([sender, id])
    await start()
    await fixture.send(group, sender, 'the first')
    await expect.poll(() => mailsTo(email).length, patience).toBe(1)
    await fixture.send(group, sender, 'the second')
    await expect.poll(() => mailsTo(email).length, patience).toBe(2)
    expect(mailsTo(email)[1]).toContain('the second')
    expect(mailsTo(email)[1]).not.toContain('the first')
    const [row] = await fixture.sql<{ gap: number }>(
      `select extract(epoch from max(created_at) - min(created_at))::float8 as gap from mails where user_id = $1`,
      [id],
    )
    expect(row!.gap).toBeGreaterThan(5.9)
  })

  it('sends no digest to users who read, are connected, unsubscribed or unconfirmed', async () => {
    const people = await Promise.all(['read', 'since', 'now', 'left', 'unconfirmed'].map((name) => reader(name)))
    const [read, since, now, left, unconfirmed] = people
    const witness = await reader('witness')
    const group = await fixture.group([sender, ...people.map(({ id }) => id), witness.id])
    connected.add(now!.id)
    await fixture.sql('update notification_settings set confirmed_at = null where user_id = $1', [unconfirmed!.id])
    const { seq } = (await fixture.send(group, sender)) as { seq: number }
    await markRead(store.database, read!.id, group, seq)
    await switchDigestOff(store.database, left!.id)
    await fixture.sql(`update users set last_seen_at = clock_timestamp() where id = $1`, [since!.id])
    await fixture.sql(`update consumers set position = 3`)
    await fixture.sql(`delete from consumer_progress`)
    await start()
    await expect.poll(() => mailsTo(witness.email).length, patience).toBe(1)
    // The connected user is checked again and again. The checks of the other users have ended.
    await fixture.sql('delete from mail_due where user_id = $1', [now!.id])
    await settled()
    for (const { email } of people) expect(mailsTo(email)).toEqual([])
  })

  it('[ACL1] a digest omits conversations the reader left and deleted messages', async () => {
    const { id, email } = await reader()
    const [lost, kept] = [await fixture.group([sender, id]), await fixture.group([sender, id])]
    mailServer.trouble = { at: 'recipient', code: 451 }
    await start()
    await fixture.send(lost, sender, 'a secret of the lost place')
    await fixture.send(kept, sender, 'said and taken back')
    await fixture.send(kept, sender, 'said and kept')
    await expect
      .poll(
        async () => (await fixture.sql(`select from mails where attempts > 0 and state = 'ready'`)).length,
        patience,
      )
      .toBeGreaterThan(0)
    await fixture.apply({ op: 'remove-member', conversation: lost, actor: sender, user: id })
    await fixture.apply({ op: 'delete', conversation: kept, actor: sender, target: 4 })
    mailServer.trouble = undefined
    await expect.poll(() => mailsTo(email).length, patience).toBe(1)
    expect(mailsTo(email)[0]).toContain('said and kept')
    expect(mailServer.accepted.map(({ raw }) => readableMail(raw)).join()).not.toMatch(/secret|taken back|lost place/)
    expect(mailsTo(email)[0]).toContain('1 unread message in')
  })

  it('escapes user text in mails: no markup, header or reversed text', async () => {
    const { id, email } = await reader()
    const group = await fixture.group([sender, id])
    const bad = await fixture.user('<script>alert(1)</script>')
    await fixture.sql('update conversations set name = $2 where id = $1', [
      group,
      'x\r\nBcc: victim@example.org\r\n\r\n<img src=x onerror=alert(1)>\u202egnp.exe',
    ])
    await fixture.apply({
      op: 'put-member',
      conversation: group,
      actor: sender,
      user: bad,
      role: 'member',
    })
    await start()
    await fixture.send(group, bad, '<b onmouseover=alert(1)>&"\'')
    await expect.poll(() => mailsTo(email).length, patience).toBe(1)
    const [mail] = mailsTo(email)
    const [head = ''] = mail!.split('\r\n\r\n')
    expect(head).not.toMatch(/^Bcc:/im)
    expect(mailServer.accepted.every(({ to }) => to === email)).toBe(true)
    const html = mail!.slice(mail!.indexOf('<!doctype html>'))
    expect(html).not.toMatch(/<script|<img|<b onmouse/)
    expect(html).toContain('&lt;b onmouseover=alert(1)&gt;&amp;&quot;&#39;')
    expect(mail).not.toContain('\u202e')
  })

  it('retries a mail that was certainly not accepted, but not one with unknown outcome', async () => {
    const { id, email } = await reader()
    const group = await fixture.group([sender, id])
    mailServer.trouble = { at: 'text', code: 452 }
    await start()
    await fixture.send(group, sender)
    await expect.poll(() => mailServer.taken, patience).toBeGreaterThan(1)
    mailServer.trouble = { at: 'silence' }
    await expect
      .poll(async () => (await fixture.sql('select state from mails where user_id = $1', [id]))[0], patience)
      .toEqual({ state: 'unknown' })
    mailServer.trouble = undefined
    const taken = mailServer.taken
    await settled()
    expect(mailServer.taken).toBe(taken)
    expect(mailsTo(email)).toEqual([])
  })

  it('does not resend a mail whose server died while sending it', async () => {
    const { id } = await reader()
    await fixture.sql(
      `insert into mails (id, user_id, kind, address, state, claimed_until)
       values ($1, $2, 'digest', 'reader@example.org', 'sending', clock_timestamp() - interval '1 second')`,
      [uuidv7(), id],
    )
    await start()
    await expect
      .poll(async () => (await fixture.sql('select state from mails where user_id = $1', [id]))[0], patience)
      .toEqual({ state: 'unknown' })
    await settled()
    expect(mailServer.accepted).toEqual([])
  })

  it('confirms a mail address once by a link and limits the number of links', async () => {
    const user = await fixture.user()
    const email = `fresh-${++count}@example.org`
    const jobs = await start()
    const set = (address: string | null, by = user) =>
      setNotifications(store.database, by, { email: address, digest: true, mail: uuidv7() })
    const stored = await set(email)
    expect(stored.outcome).toBe('stored')
    if (stored.outcome === 'stored' && stored.mail !== undefined) jobs.mail!.hint(stored.mail)
    expect(await readNotifications(store.database, user)).toEqual({ email, confirmed: false, digest: 'on' })
    await expect.poll(() => mailsTo(email).length, patience).toBe(1)
    const token = /mail\/confirm\?token=([\w-]+)/.exec(mailsTo(email)[0]!)![1]!
    expect(await set(email)).toMatchObject({ outcome: 'too-soon' })
    expect(await confirmEmail(store.database, hashOfToken(`${token.slice(1)}x`))).toBe(false)
    expect(await confirmEmail(store.database, hashOfToken(token))).toBe(true)
    expect(await confirmEmail(store.database, hashOfToken(token))).toBe(false)
    expect(await readNotifications(store.database, user)).toEqual({ email, confirmed: true, digest: 'on' })

    // An address gets at most three links a day, over all users who request one.
    const victim = `victim-${++count}@example.org`
    const outcomes = []
    for (const other of await fixture.users(5)) outcomes.push((await set(victim.toUpperCase(), other)).outcome)
    expect(outcomes).toEqual(['stored', 'stored', 'stored', 'too-soon', 'too-soon'])
    expect(await set(null)).toEqual({ outcome: 'stored', mail: undefined })
    expect(await readNotifications(store.database, user)).toEqual({ email: null, confirmed: false, digest: 'off' })
  })

  it.runIf(engine === 'postgres' && hasRedis())(
    'mails each message once per reader while Redis is emptied and killed',
    async () => {
      const server = await startRedis()
      const links: Redis[] = []
      try {
        for (let n = 0; n < 2; n++) {
          const redis = await openRedis({
            url: server.url,
            variable: 'REDIS_URL',
            allowInsecure: false,
            logger: createLogger('silent', 'test'),
            clock: systemClock,
          })
          links.push(redis)
          await start(redis, server.url, await store.openSecond())
        }
        const readers = await Promise.all(Array.from({ length: 10 }, () => reader()))
        const group = await fixture.group([sender, ...readers.map(({ id }) => id)])
        for (let i = 0; i < 30; i++) {
          await fixture.send(group, sender, `message number ${i}.`)
          if (i % 4 === 1) await server.command('FLUSHALL')
          if (i === 15) await server.kill9()
          if (i === 15) await server.start()
        }
        await server.command('FLUSHALL')
        await settled()
        for (const { email } of readers) {
          const mails = mailsTo(email)
          expect(mails.length).toBeGreaterThan(0)
          const told = mails.map((mail) => Number(/(\d+) unread message/.exec(mail)![1]))
          expect(told.reduce((sum, unread) => sum + unread, 0)).toBe(30)
        }
      } finally {
        await Promise.all(running.splice(0).map(({ jobs, metrics }) => jobs.stop().finally(() => metrics.stop())))
        await Promise.all(links.map((link) => link.close()))
        await server.remove()
      }
    },
  )
})
