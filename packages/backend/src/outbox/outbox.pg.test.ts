/** The outbox in Postgres: the common promises, and what needs several connections or processes. */
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { type Databases, hasPostgres, usePostgres, waitForFact } from '@chorus/testkit'
import { Pool, type PoolClient } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createChorusClient } from '../api/chorus-client.ts'
import { describeOutbox, isPostTo, type OutboxDatabase, testSecret } from '../testing/outbox.suite.ts'
import { bundleRelay, type RelayProcess, spawnRelay } from '../testing/spawn-relay.ts'
import { StandIn } from '../testing/stand-in.ts'
import { type OutboxProblem, type OutboxRelay, startOutboxRelay } from './outbox-relay.ts'
import { createOutboxTable, readOutboxState } from './outbox-table.ts'
import { postInTransaction } from './post-in-transaction.ts'

async function transact<Result>(pool: Pool, work: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    const result = await work(client)
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}

describe.runIf(hasPostgres())('with Postgres', () => {
  let databases: Databases

  beforeAll(async () => {
    databases = await usePostgres()
  })

  describeOutbox('Postgres', async (): Promise<OutboxDatabase> => {
    const url = await databases.createDatabase()
    const pool = new Pool({ connectionString: url, max: 20 })
    pool.on('error', () => undefined)
    return {
      client: pool,
      transaction: (work) => transact(pool, work),
      async close() {
        await pool.end()
        await databases.dropDatabase(url)
      },
    }
  })

  describe('the outbox with several connections', () => {
    let url: string
    let pool: Pool
    let server: StandIn
    let relayFile: string
    let problems: OutboxProblem[]
    const relays: OutboxRelay[] = []
    const processes: RelayProcess[] = []

    beforeAll(async () => {
      url = await databases.createDatabase()
      pool = new Pool({ connectionString: url, max: 20 })
      pool.on('error', () => undefined)
      await createOutboxTable(pool)
      relayFile = await bundleRelay()
    })
    beforeEach(async () => {
      problems = []
      server = await new StandIn().start()
    })
    afterEach(async () => {
      for (const child of processes.splice(0)) await child.kill9()
      await Promise.all(relays.splice(0).map((relay) => relay.stop({ timeoutMs: 0 })))
      await server.stop()
      await pool.query('truncate chorus_outbox, chorus_outbox_lane, chorus_outbox_dead')
    })
    afterAll(async () => {
      rmSync(relayFile, { force: true })
      await pool.end()
      await databases.dropDatabase(url)
    })

    const start = (timeoutMs = 1_000): void => {
      const client = createChorusClient({ url: server.url, secret: testSecret })
      const onProblem = (found: OutboxProblem): void => void problems.push(found)
      relays.push(startOutboxRelay({ pool, client, pollMs: 10, timeoutMs, onProblem }))
    }
    const spawn = async (timeoutMs: number): Promise<RelayProcess> => {
      const settings = { databaseUrl: url, chorusUrl: server.url, secret: testSecret, timeoutMs }
      const child = await spawnRelay(relayFile, settings)
      processes.push(child)
      return child
    }
    const post = (conversation: string, text: string): Promise<{ id: string }> =>
      transact(pool, (client) => postInTransaction(client, { conversation, text }))
    const whenEmpty = (timeoutMs = 10_000) =>
      waitForFact(async () => (await readOutboxState(pool)).waiting === 0, { what: 'an empty outbox', timeoutMs })
    const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index))

    it('[OUT1] passes a transaction that stays open, and posts its row after its commit', async () => {
      const conversation = randomUUID()
      const open = await pool.connect()
      await open.query('begin')
      await postInTransaction(open, { conversation, text: 'first' })
      start()
      for (const text of numbers(100)) await post(conversation, text)
      await waitForFact(() => server.textsOf(conversation).length === 100)
      await open.query('commit')
      open.release()
      await waitForFact(() => server.posts.length === 101)
      expect(server.textsOf(conversation)).toEqual([...numbers(100), 'first'])
      await whenEmpty()
    })

    it('[OUT1] is not stopped by an idle transaction that has read the outbox', async () => {
      const conversation = randomUUID()
      await post(conversation, '0')
      const idle = await pool.connect()
      await idle.query('begin isolation level repeatable read')
      await idle.query('select count(*) from chorus_outbox')
      start()
      await waitForFact(() => server.posts.length === 1)
      await post(conversation, '1')
      await whenEmpty()
      await idle.query('rollback')
      idle.release()
      expect(server.textsOf(conversation)).toEqual(['0', '1'])
    })

    it('[OUT1] keeps the order of transactions that do not overlap', async () => {
      const conversation = randomUUID()
      // Both transactions are idle in time: only the order of commit and begin counts.
      const [one, two] = [await pool.connect(), await pool.connect()]
      await one.query('begin')
      await postInTransaction(one, { conversation, text: '1' })
      await one.query('commit')
      await two.query('begin')
      await postInTransaction(two, { conversation, text: '2' })
      await two.query('commit')
      one.release()
      two.release()
      start()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(['1', '2'])
    })

    it.each([
      [0, 1],
      [1, 0],
    ])('[OUT1] follows a lock on a row of the integrator (%i before %i)', async (first, second) => {
      const conversation = randomUUID()
      await pool.query('create table if not exists orders (id int primary key)')
      await pool.query('insert into orders values (1) on conflict do nothing')
      // Both transactions begin before either has the lock, so their beginnings overlap.
      const clients = [await pool.connect(), await pool.connect()]
      for (const client of clients) await client.query('begin')
      const work = async (index: number): Promise<void> => {
        const client = clients[index]!
        await client.query('select 1 from orders where id = 1 for update')
        await postInTransaction(client, { conversation, text: String(index) })
        await client.query('commit')
        client.release()
      }
      start()
      await work(first)
      await work(second)
      await waitForFact(() => server.posts.length === 2)
      expect(server.textsOf(conversation)).toEqual([String(first), String(second)])
      await whenEmpty()
    })

    it('[OUT1] posts once when the relay is killed between post and mark', async () => {
      const conversation = randomUUID()
      for (const text of numbers(10)) await post(conversation, text)
      server.fault = (request) =>
        isPostTo(conversation, request) && server.attempts === 4 ? { kind: 'hang' } : undefined
      const first = await spawn(60_000)
      await waitForFact(() => server.posts.length === 5)
      await first.kill9()
      server.fault = () => undefined
      await spawn(60_000)
      // The lease of the killed relay ends after 3 s, however long a post may take.
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(numbers(10))
      expect(server.attempts).toBeGreaterThan(10)
    })

    it('[OUT1] posts once and in order when a frozen relay wakes up', async () => {
      const conversation = randomUUID()
      for (const text of numbers(20)) await post(conversation, text)
      const frozen = await spawn(300)
      await waitForFact(() => server.posts.length >= 3)
      frozen.pause()
      start(300)
      await whenEmpty()
      for (const text of numbers(40).slice(20)) await post(conversation, text)
      frozen.resume()
      await whenEmpty()
      expect(server.textsOf(conversation)).toEqual(numbers(40))
    })

    it('[OUT1] posts once when relays are killed again and again', async () => {
      const conversations = Array.from({ length: 5 }, () => randomUUID())
      await transact(pool, async (client) => {
        for (const text of numbers(60))
          for (const conversation of conversations) await postInTransaction(client, { conversation, text })
      })
      for (let round = 0; round < 4; round += 1) {
        const before = server.attempts
        const [one, two] = [await spawn(200), await spawn(200)]
        await waitForFact(() => server.attempts > before + 20, { timeoutMs: 15_000 })
        await Promise.all([one.kill9(), two.kill9()])
      }
      start(200)
      await whenEmpty(20_000)
      for (const conversation of conversations) expect(server.textsOf(conversation)).toEqual(numbers(60))
    }, 90_000)

    it('[OUT1] continues after its connections were closed', async () => {
      const conversation = randomUUID()
      const own = new Pool({ connectionString: url, max: 4, application_name: 'relay' })
      own.on('error', () => undefined)
      const client = createChorusClient({ url: server.url, secret: testSecret })
      const relay = startOutboxRelay({ pool: own, client, pollMs: 10, timeoutMs: 500, onProblem: () => undefined })
      for (const text of numbers(20)) {
        await post(conversation, text)
        await pool.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'relay'`)
      }
      await whenEmpty()
      await relay.stop()
      await own.end()
      expect(server.textsOf(conversation)).toEqual(numbers(20))
    })

    it('[OUT1] posts ten thousand rows of one transaction', async () => {
      const conversations = Array.from({ length: 50 }, () => randomUUID())
      await transact(pool, (client) =>
        client.query(
          `insert into chorus_outbox (id, conversation, text)
           select gen_random_uuid(), ($1::uuid[])[1 + n % 50], (n / 50)::text from generate_series(0, 9999) n`,
          [conversations],
        ),
      )
      start(5_000)
      start(5_000)
      await whenEmpty(150_000)
      expect(server.posts).toHaveLength(10_000)
      for (const conversation of conversations) expect(server.textsOf(conversation)).toEqual(numbers(200))
    }, 180_000)
  })
})
