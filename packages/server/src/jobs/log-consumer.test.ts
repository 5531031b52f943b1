/**
 * Tests rule OFF1 for the consumers of the log (mail, webhooks): order, completeness and a lease
 * that moves to another server, on both engines, with overlapping writers.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Id } from '@chorus/protocol'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type ConsumerLease,
  type ConsumerLog,
  type ConsumerPage,
  historyOf,
  openConsumerLog,
} from '../log/consumer-log.ts'
import { restoreHistory } from '../log/restore-history.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import { systemClock } from '../support/clock.ts'
import { createLogger } from '../support/logger.ts'
import { LogConsumer } from './log-consumer.ts'

/** Changes that a consumer handled, in order, as `conversation/seq`. */
type Handled = string[]

describe.each(testEngines)('a consumer of the log (%s)', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let log: ConsumerLog
  let lease: ConsumerLease

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
  })
  afterAll(() => store.close())

  beforeEach(async () => {
    await fixture.sql(`update consumers set holder = null, lease_until = null`)
    log = openConsumerLog(store.database, 'mail')
    lease = await take(log)
    expect(await log.begin(lease, 'here', await log.readPosition())).toBe(true)
  })

  async function take(from: ConsumerLog): Promise<ConsumerLease> {
    const taken = await from.takeLease(60_000)
    if (taken === undefined) throw new Error('somebody else has the lease')
    return taken
  }

  async function save(holder: ConsumerLease, page: ConsumerPage): Promise<'stored' | 'lost'> {
    const [row] = await fixture.sql<{ held: boolean }>(
      `select advance_consumer($1, $2, $3, $4::uuid[], $5::bigint[], $6::bigint[]) as held`,
      [
        holder.name,
        holder.token,
        page.position,
        page.rows.map((handled) => handled.conversation),
        page.rows.map((handled) => handled.seq),
        page.rows.map((handled) => handled.xid),
      ],
    )
    return row!.held ? 'stored' : 'lost'
  }

  /** Handles pages until no changes are left. */
  async function drain(into: Handled, rowsMax = 500): Promise<void> {
    for (;;) {
      const page = await log.readPage(lease, rowsMax)
      into.push(...page.rows.map(({ conversation, seq }) => `${conversation}/${seq}`))
      expect(await save(lease, page)).toBe('stored')
      if (!page.more) return
    }
  }

  const seqsOf = (handled: Handled, conversation: Id): number[] =>
    handled.filter((entry) => entry.startsWith(conversation)).map((entry) => Number(entry.split('/')[1]))

  it('[OFF1] a consumer starts at the end of the log and reads each later change once', async () => {
    const [a, b] = [await fixture.user(), await fixture.user()]
    const before = await fixture.group([a, b])
    // Other test files use this Postgres, too. The readable end of the log cannot pass their open
    // transactions.
    const [written] = await fixture.sql<{ xid: number }>(
      `select max(xid::text::bigint) as xid from changes where conversation = $1`,
      [before],
    )
    await expect
      .poll(() => log.readPosition(), { timeout: 10_000 })
      .toBeGreaterThan(Number(written?.xid ?? Number.POSITIVE_INFINITY))
    await log.begin(lease, 'here', await log.readPosition())
    const groups = [before, await fixture.group([a, b]), await fixture.group([a, b])]
    for (let i = 0; i < 20; i++) await fixture.send(groups[i % 3]!, i % 2 === 0 ? a : b, `message ${i}`)
    const handled: Handled = []
    await drain(handled, 4)
    expect(seqsOf(handled, before)).toEqual((await fixture.seqs(before)).slice(3))
    for (const group of groups.slice(1)) expect(seqsOf(handled, group)).toEqual(await fixture.seqs(group))
    expect(new Set(handled).size).toBe(handled.length)

    const again: Handled = []
    await drain(again)
    expect(again).toEqual([])
    const marks = await fixture.sql(`select from consumer_progress where consumer = 'mail'`)
    expect(marks.length).toBeLessThanOrEqual(groups.length)
  })

  it('[OFF1] a consumer set back to an earlier position repeats changes in the same order', async () => {
    const a = await fixture.user()
    const group = await fixture.group([a])
    const first: Handled = []
    await drain(first)
    const { position } = await log.readPage(lease, 10)
    for (let i = 0; i < 7; i++) await fixture.send(group, a)
    const once: Handled = []
    await drain(once, 3)
    await fixture.sql(`update consumers set position = $1 where name = 'mail'`, [position])
    await fixture.sql(`delete from consumer_progress where consumer = 'mail'`)
    const twice: Handled = []
    await drain(twice, 3)
    expect(seqsOf(once, group)).toHaveLength(7)
    expect(twice).toEqual(once)
  })

  it('[OFF1] a consumer that lost its lease stores nothing', async () => {
    const a = await fixture.user()
    const group = await fixture.group([a])
    const page = await log.readPage(lease, 100)
    expect(page.rows.length).toBeGreaterThan(0)
    await fixture.sql(`update consumers set lease_until = clock_timestamp() - interval '1 second' where name = 'mail'`)
    const other = openConsumerLog(store.database, 'mail')
    const taken = await take(other)
    expect(await save(lease, page)).toBe('lost')
    expect(await log.renewLease(lease, 1_000)).toBe(false)
    expect(await log.takeLease(1_000)).toBeUndefined()
    const handed = await other.readPage(taken, 100)
    expect(handed.rows.filter(({ conversation }) => conversation === group)).toEqual(
      page.rows.filter(({ conversation }) => conversation === group),
    )
    await other.releaseLease(taken)
  })

  it('[OFF1] handles every change of the log when the server with the lease dies', async () => {
    await log.releaseLease(lease)
    const a = await fixture.user()
    const group = await fixture.group([a])
    const history = historyOf(await store.database.epoch())
    await fixture.sql(`update consumers set history = $1 where name = 'mail'`, [history])
    const handled: Handled = []
    let isDead = false
    const follow = (onStore: () => boolean) =>
      new LogConsumer({
        log: openConsumerLog(store.database, 'mail'),
        store: async (held, page) => {
          if (onStore()) return new Promise<never>(() => undefined)
          const outcome = await save(held, page)
          if (outcome === 'stored') handled.push(...page.rows.map(({ conversation, seq }) => `${conversation}/${seq}`))
          return outcome
        },
        isNeeded: async () => true,
        history: () => history,
        clock: systemClock,
        logger: createLogger('silent', 'test'),
        onLag: () => undefined,
        pageMaxRows: 2,
      })
    const first = follow(() => isDead)
    first.start()
    for (let i = 0; i < 9; i++) await fixture.send(group, a)
    await expect.poll(() => seqsOf(handled, group).length, { timeout: 10_000 }).toBe(11)
    // The server dies after reading a page and before storing it. Its lease expires by the
    // database's time.
    isDead = true
    for (let i = 0; i < 9; i++) await fixture.send(group, a)
    await fixture.sql(`update consumers set lease_until = clock_timestamp() - interval '1 second' where name = 'mail'`)
    const second = follow(() => false)
    second.start()
    await expect.poll(() => seqsOf(handled, group).length, { timeout: 10_000 }).toBe(20)
    expect(seqsOf(handled, group)).toEqual(await fixture.seqs(group))
    await second.stop()
  })

  it('[OFF1] [RES2] a consumer restarts at the end of the log after an epoch change', async () => {
    await log.releaseLease(lease)
    const a = await fixture.user()
    const group = await fixture.group([a])
    await restoreHistory(store.database)
    const lines: string[] = []
    const handled: Handled = []
    const history = historyOf(await store.database.epoch())
    const consumer = new LogConsumer({
      log: openConsumerLog(store.database, 'mail'),
      store: async (held, page) => {
        handled.push(...page.rows.map(({ conversation, seq }) => `${conversation}/${seq}`))
        return save(held, page)
      },
      isNeeded: async () => true,
      history: () => history,
      clock: systemClock,
      logger: createLogger('info', 'test', { write: (line) => void lines.push(line) }),
      onLag: () => undefined,
    })
    consumer.start()
    await expect.poll(() => lines.some((line) => line.includes('database epoch changed'))).toBe(true)
    await expect
      .poll(
        async () => (await fixture.sql<{ history: string }>(`select history from consumers where name = 'mail'`))[0],
      )
      .toEqual({ history })
    await fixture.send(group, a, 'after the restore')
    await expect.poll(() => handled, { timeout: 10_000 }).toEqual([`${group}/3`])
    await consumer.stop()
  })

  describe.runIf(engine === 'postgres')('a consumer of the log with overlapping writers', () => {
    async function connect(): Promise<pg.Client> {
      const client = new pg.Client({ connectionString: store.url })
      await client.connect()
      return client
    }

    /**
     * Writes as the SQL function of the log does: locks the conversation, takes a number, writes
     * the row. The transaction may have begun long before.
     */
    async function append(client: pg.Client, group: Id, actor: Id): Promise<void> {
      await client.query('select from conversations where id = $1 for update', [group])
      await client.query(
        `with n as (select * from next_seq($1))
         insert into changes (conversation, seq, at, type, actor, client_id, request_hash, version, text)
         select $1, n.o_seq, n.o_at, 'message.created', $2, $3, '', n.o_seq, 'hello' from n`,
        [group, actor, randomUUID()],
      )
    }

    it('[OFF1] handles seqs in order even if a higher seq has a lower transaction id', async () => {
      const a = await fixture.user()
      const group = await fixture.group([a])
      const handled: Handled = []
      await drain(handled)
      const [early, late] = [await connect(), await connect()]
      await early.query('begin')
      await early.query('select pg_current_xact_id()')
      await append(late, group, a)
      await drain(handled)
      await append(early, group, a)
      await drain(handled)
      await early.query('commit')
      await drain(handled)
      await drain(handled)
      expect(seqsOf(handled, group)).toEqual([1, 2, 3, 4])
      await Promise.all([early.end(), late.end()])
    })

    it('[OFF1] a consumer handles changes while another transaction stays open', async () => {
      const a = await fixture.user()
      const group = await fixture.group([a])
      const open = await connect()
      await open.query('begin')
      await open.query('select pg_current_xact_id()')
      for (let i = 0; i < 20; i++) await fixture.send(group, a)
      const handled: Handled = []
      await drain(handled, 3)
      expect(seqsOf(handled, group)).toEqual(await fixture.seqs(group))
      await open.query('rollback')
      await open.end()
      await drain(handled, 3)
      expect(seqsOf(handled, group)).toEqual(await fixture.seqs(group))
    })

    it('[OFF1] handles every seq once and in order with eight delayed and aborting writers', async () => {
      const people = await fixture.users(3)
      const groups = await Promise.all(Array.from({ length: 4 }, () => fixture.group(people)))
      const handled: Handled = []
      await drain(handled)
      let isWriting = true
      const writers = Array.from({ length: 8 }, async (_, w) => {
        const client = await connect()
        for (let i = 0; i < 25; i++) {
          await client.query('begin')
          if ((w + i) % 3 === 0) await client.query('select pg_current_xact_id()')
          await pause(Math.random() * 8)
          if ((w + i) % 5 === 0) await client.query('savepoint s')
          // Locks the conversations in the order of their ids, as the log does, to avoid deadlocks.
          for (const group of [...groups].sort().slice(w % 2, 1 + (i % 3))) await append(client, group, people[w % 3]!)
          await pause(Math.random() * 4)
          await client.query(i % 10 === 9 ? 'rollback' : 'commit')
        }
        await client.end()
      })
      const reading = (async () => {
        while (isWriting) {
          await drain(handled, 1 + Math.floor(Math.random() * 6))
          await pause(Math.random() * 5)
        }
      })()
      await Promise.all(writers)
      isWriting = false
      await reading
      await drain(handled, 5)
      for (const group of groups) expect(seqsOf(handled, group)).toEqual(await fixture.seqs(group))
    })
  })
})
