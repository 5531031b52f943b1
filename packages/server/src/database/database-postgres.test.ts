/**
 * Tests connections to a Postgres server: each is checked before use, limited in time, and never
 * used for a former database history.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { toChorusError } from '../dispatch/to-chorus-error.ts'
import type { DatabaseError } from './database-errors.ts'
import { openPostgresDatabase, poolMax } from './database-postgres.ts'
import { poolLimits } from './postgres-pool.ts'
import { openTestDatabase, type TestDatabase, testEngines } from './testing/open-test-database.ts'

describe.runIf(testEngines.includes('postgres'))('connections to a Postgres server', () => {
  let store: TestDatabase
  let admin: pg.Client

  beforeEach(async () => {
    store = await openTestDatabase('postgres')
    await store.database.epoch()
    admin = new pg.Client({ connectionString: store.url })
    await admin.connect()
  })
  afterEach(async () => {
    await admin.end()
    await store.close()
  })

  /** Cuts all connections of the database under test. */
  const cutAll = async (): Promise<void> => {
    await admin.query(
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and application_name = 'chorus-test'`,
    )
  }
  const kindOf = (asking: Promise<unknown>): Promise<string> =>
    asking.then(
      () => 'answered',
      (error: DatabaseError) => error.kind,
    )

  it('[RES2] uses no connection whose database epoch it could not read', async () => {
    const { database } = store
    await admin.query('alter table settings rename to settings_away')
    await cutAll()
    expect(await kindOf(database.query({ text: 'select 1', timeoutMs: 500 }))).toBe('refused')
    expect(await kindOf(database.lane(0).run({ text: 'select 1' }, 500))).toBe('refused')
    expect(await database.isHealthy()).toBe(false)
    await admin.query('alter table settings_away rename to settings')
    expect(await database.query({ text: 'select 1 as one' })).toEqual([{ one: 1 }])
    expect(await database.lane(0).run({ text: 'select 1 as one' }, 2_000)).toEqual([{ one: 1 }])
  })

  it('[RES2] reports a changed epoch once and drops all older connections', async () => {
    const { database } = store
    const epochs: string[] = []
    database.onEpochChange((epoch) => epochs.push(epoch))
    await Promise.all([
      ...Array.from({ length: 5 }, () => database.query({ text: 'select pg_sleep(0.1)' })),
      database.lane(0).run({ text: 'select 1' }, 2_000),
      database.lane(1).run({ text: 'select 1' }, 2_000),
    ])
    const pidsOf = async (): Promise<Set<number>> => {
      const { rows } = await admin.query<{ pid: number }>(
        `select pid from pg_stat_activity where datname = current_database() and application_name = 'chorus-test'`,
      )
      return new Set(rows.map(({ pid }) => pid))
    }
    const before = await pidsOf()
    await admin.query(`update settings set value = gen_random_uuid() where key = 'epoch'`)
    // One new connection finds the new epoch. All older connections are still open and would still
    // use the former epoch.
    const [first] = before
    await admin.query('select pg_terminate_backend($1, 5000)', [first])
    await vi.waitFor(
      async () => {
        await Promise.all([
          ...Array.from({ length: 10 }, () => database.query({ text: 'select pg_sleep(0.05)' })),
          database
            .lane(0)
            .run({ text: 'select 1' }, 2_000)
            .catch(() => undefined),
          database
            .lane(1)
            .run({ text: 'select 1' }, 2_000)
            .catch(() => undefined),
        ])
        expect(epochs).toHaveLength(1)
      },
      { timeout: 5_000 },
    )
    expect(epochs).toEqual([await database.epoch()])
    await vi.waitFor(async () => expect([...(await pidsOf())].filter((pid) => before.has(pid))).toEqual([]))
    await database.lane(0).run({ text: 'select 1' }, 2_000)
    await database.lane(1).run({ text: 'select 1' }, 2_000)
    expect(epochs).toHaveLength(1)
  })

  it('[RES2] a recheck reports a changed epoch without a broken connection', async () => {
    const { database } = store
    const epochs: string[] = []
    database.onEpochChange((epoch) => epochs.push(epoch))
    await database.query({ text: 'select 1' })
    await database.recheckEpoch()
    expect(epochs).toEqual([])
    await admin.query(`update settings set value = gen_random_uuid() where key = 'epoch'`)
    await database.recheckEpoch()
    expect(epochs).toEqual([await database.epoch()])
    await database.recheckEpoch()
    expect(epochs).toHaveLength(1)
    expect(await database.query({ text: 'select 1 as one' })).toEqual([{ one: 1 }])
  })

  it('a query rejects when its connection breaks during the check before use', async () => {
    const proxy = await startProxy(store.url ?? '')
    const database = await openPostgresDatabase({ url: proxy.url, applicationName: 'chorus-proxied' })
    const locker = new pg.Client({ connectionString: store.url })
    await locker.connect()
    try {
      await database.epoch()
      proxy.cut()
      await locker.query('begin')
      await locker.query('lock table settings in access exclusive mode')
      const asking = kindOf(database.query({ text: 'select 1', timeoutMs: 1_000 }))
      await vi.waitFor(async () => {
        const { rowCount } = await admin.query(
          `select from pg_stat_activity where datname = current_database() and application_name = 'chorus-proxied' and wait_event_type = 'Lock'`,
        )
        expect(rowCount).toBe(1)
      })
      proxy.cut()
      await locker.query('rollback')
      // The query either succeeded at its next attempt or reached its time limit. In both cases
      // this process still runs.
      expect(['answered', 'lost', 'refused']).toContain(await asking)
      expect(await kindOf(database.query({ text: 'select 1' }))).toBe('answered')
    } finally {
      await locker.end()
      await database.close()
      await proxy.close()
    }
  })

  it('[ACK2] reports a write with a cut connection as lost, even if retries are refused', async () => {
    const proxy = await startProxy(store.url ?? '')
    const database = await openPostgresDatabase({ url: proxy.url, applicationName: 'chorus-proxied' })
    try {
      await database.query({ text: 'select 1' })
      // Cut the connection when the response of the database arrives, which is after the commit.
      // Also close the proxy, so that retries are refused.
      proxy.endAtNextAnswer()
      const error: unknown = await database
        .query({ text: `insert into settings (key, value) values ('cut', 'yes') on conflict do nothing` })
        .catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ kind: 'lost' })
      expect(toChorusError(error, true, () => undefined)).toMatchObject({ code: 'unknown' })
      expect((await admin.query(`select value from settings where key = 'cut'`)).rows).toEqual([{ value: 'yes' }])
      expect(await kindOf(database.query({ text: 'select 1' }))).toBe('refused')
    } finally {
      await database.close()
      await proxy.close()
    }
  })

  it('[LIM1] ends all attempts of a read in time when every connection hangs', async () => {
    const { database } = store
    await admin.query('begin')
    await admin.query('lock table users in access exclusive mode')
    const startedAtMs = performance.now()
    const kinds = await Promise.all(
      Array.from({ length: 30 }, () => kindOf(database.query({ text: 'select from users', timeoutMs: 700 }))),
    )
    expect(performance.now() - startedAtMs).toBeLessThan(1_400)
    expect(kinds.every((kind) => kind === 'lost' || kind === 'refused')).toBe(true)
    await admin.query('rollback')
    expect(await kindOf(database.query({ text: 'select from users' }))).toBe('answered')
  })
})

describe.runIf(testEngines.includes('postgres'))('slow statements on a Postgres server', () => {
  let store: TestDatabase
  let admin: pg.Client
  beforeEach(async () => {
    store = await openTestDatabase('postgres')
    admin = new pg.Client({ connectionString: store.url })
    await admin.connect()
  })
  afterEach(async () => {
    await admin.end()
    await store.close()
  })
  const backends = async (condition = 'true'): Promise<number> => {
    const { rows } = await admin.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity
        where datname = current_database() and application_name = 'chorus-test' and ${condition}`,
    )
    return rows[0]?.n ?? 0
  }
  const slow = (timeoutMs?: number) =>
    store.database
      .query({ text: 'select pg_sleep(60)', pool: 'browse', ...(timeoutMs !== undefined && { timeoutMs }) })
      .then(
        () => 'answered',
        (error: DatabaseError) => error.kind,
      )

  it('[DB2] uses no additional Postgres backends, however often reads time out', async () => {
    let most = 0
    for (let round = 0; round < 5; round++) {
      const kinds = await Promise.all(Array.from({ length: 10 }, () => slow(300)))
      expect(kinds.every((kind) => kind === 'lost' || kind === 'refused')).toBe(true)
      most = Math.max(most, await backends(`query like '%pg_sleep%' and state = 'active'`))
    }
    expect(most).toBe(poolMax.browse)
    // Postgres ends the slow statements, and their connections become usable again.
    await vi.waitFor(async () => expect(await backends(`state = 'active'`)).toBe(0), { timeout: 5_000 })
    expect(await store.database.query({ text: 'select 1 as one', pool: 'browse' })).toEqual([{ one: 1 }])
    expect(await backends()).toBeLessThanOrEqual(poolMax.browse + 1)
  })

  it('[DB2] does not retry a statement that timed out', async () => {
    await admin.query('create sequence asked')
    const asking = store.database.query({ text: `select nextval('asked'), pg_sleep(60)` })
    await expect(asking).rejects.toMatchObject({ kind: 'lost', sqlState: '57014' })
    expect((await admin.query(`select last_value::int as n from asked`)).rows).toEqual([{ n: 1 }])
  })

  it('[DB2] answers session look-ups and health probes while pages and searches hang', async () => {
    const hanging = [...Array.from({ length: 20 }, () => slow()), slow(), slow()]
    const searching = Array.from({ length: 10 }, () =>
      store.database.query({ text: 'select pg_sleep(60)', pool: 'search' }).catch(() => undefined),
    )
    await vi.waitFor(async () =>
      expect(await backends(`query like '%pg_sleep%' and state = 'active'`)).toBe(poolMax.browse + poolMax.search),
    )
    expect(await store.database.query({ text: 'select 1 as one' })).toEqual([{ one: 1 }])
    expect(await store.database.isHealthy()).toBe(true)
    await Promise.all([...hanging, ...searching])
  })

  it('[LIM1] refuses a statement at once when too many wait for a connection', async () => {
    const waiting = Array.from({ length: poolLimits.waitingMax + poolMax.browse }, () => slow(2_000))
    await expect(store.database.query({ text: 'select 1', pool: 'browse', timeoutMs: 100 })).rejects.toMatchObject({
      kind: 'refused',
      message: 'too many statements are waiting for a connection',
    })
    await Promise.all(waiting)
  })
})

/**
 * Starts a proxy to a Postgres server. The test can cut its connections, also just before a
 * response arrives.
 */
async function startProxy(address: string) {
  const url = new URL(address)
  const port = Number(url.port)
  const wires = new Set<Socket>()
  let isEnding = false
  const cut = (): void => {
    for (const wire of wires) wire.resetAndDestroy()
    wires.clear()
  }
  const proxy = createServer((inner) => {
    const outer = connect(port, '127.0.0.1')
    for (const wire of [inner, outer]) {
      wires.add(wire)
      wire.on('error', () => undefined)
      wire.on('close', () => {
        inner.destroy()
        outer.destroy()
      })
    }
    inner.pipe(outer)
    outer.on('data', (data) => {
      if (!isEnding) {
        inner.write(data)
        return
      }
      proxy.close()
      cut()
    })
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  url.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`
  return {
    url: url.href,
    cut,
    endAtNextAnswer: () => {
      isEnding = true
    },
    close: async () => {
      cut()
      await new Promise((resolve) => proxy.close(resolve))
    },
  }
}
