/**
 * Tests that the server's connection settings apply, whatever DATABASE_URL, the role or the
 * database sets.
 */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Database } from './database.ts'
import { openPostgresDatabase } from './database-postgres.ts'
import { migrate } from './migrate.ts'
import { openTestDatabase, type TestDatabase, testEngines } from './testing/open-test-database.ts'

const shown = `select current_setting('synchronous_commit') as commits, current_setting('transaction_isolation') as isolation,
  current_setting('transaction_read_only') as "readOnly", current_setting('jit') as jit, current_setting('TimeZone') as zone,
  current_setting('DateStyle') as dates, current_setting('lock_timeout') as locks, current_setting('bytea_output') as bytes,
  current_setting('standard_conforming_strings') as strings, current_setting('idle_in_transaction_session_timeout') as idle,
  current_setting('statement_timeout') as statement`

const right = {
  commits: 'on',
  isolation: 'read committed',
  readOnly: 'off',
  jit: 'off',
  zone: 'UTC',
  dates: 'ISO, MDY',
  locks: '1500ms',
  bytes: 'hex',
  strings: 'on',
  idle: '10s',
  statement: '2500ms',
}

describe.runIf(testEngines.includes('postgres'))('connection settings on a Postgres server', () => {
  let store: TestDatabase
  let admin: pg.Client
  const opened: Database[] = []

  beforeAll(async () => {
    store = await openTestDatabase('postgres')
    admin = new pg.Client({ connectionString: store.url })
    await admin.connect()
    const { rows } = await admin.query<{ name: string }>('select current_database() as name')
    const name = rows[0]?.name
    for (const setting of [
      'synchronous_commit = off',
      `default_transaction_isolation = 'repeatable read'`,
      `datestyle = 'German, DMY'`,
      `timezone = 'Asia/Tokyo'`,
      'bytea_output = escape',
      'standard_conforming_strings = off',
      'jit = on',
      'lock_timeout = 0',
      'statement_timeout = 20',
      'idle_in_transaction_session_timeout = 0',
    ])
      await admin.query(`alter database ${name} set ${setting}`)
  })
  afterAll(async () => {
    await Promise.all(opened.map((database) => database.close()))
    await admin.end()
    await store.close()
  })

  async function open(change: (url: URL) => void = () => undefined): Promise<Database> {
    const url = new URL(store.url ?? '')
    change(url)
    const database = await openPostgresDatabase({ url: url.href, applicationName: 'chorus-settings' })
    opened.push(database)
    return database
  }

  it.each([
    ['nothing', undefined],
    ['a search_path', '-c search_path=public'],
    ['synchronous_commit', '-c synchronous_commit=off -c jit=on'],
    ['a time zone and an isolation', '-c timezone=Asia/Tokyo -c default_transaction_isolation=serializable'],
  ])("[DB1] the server's settings apply to every connection, although DATABASE_URL sets %s", async (_what, options) => {
    const database = await open((url) => {
      if (options !== undefined) url.searchParams.set('options', options)
    })
    await database.epoch()
    for (const pool of ['vital', 'browse', 'search'] as const)
      expect(await database.query({ text: shown, pool })).toEqual([right])
    // Postgres ends a lane's statement shortly after the log stops waiting for it.
    const ofLane = { ...right, statement: '2s' }
    for (const lane of [0, 1]) expect(await database.lane(lane).run({ text: shown }, 1_500)).toEqual([ofLane])
    // Connections opened after this change get the same settings.
    await admin.query(
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and application_name = 'chorus-settings'`,
    )
    expect(await database.query({ text: shown })).toEqual([right])
  })

  it('[DB1] refuses to start if transactions are read-only', async () => {
    const role = `reader_${randomBytes(4).toString('hex')}`
    await admin.query(`create role ${role} login superuser password 'x'`)
    try {
      await admin.query(`alter role ${role} set default_transaction_read_only = on`)
      const opening = open((url) => {
        url.username = role
        url.password = 'x'
      })
      await expect(opening).rejects.toThrow(/default_transaction_read_only is on for DATABASE_URL/)
    } finally {
      await admin.query(`drop role ${role}`)
    }
  })

  it('[DB1] keeps using the schema of the tables when search_path changes', async () => {
    const role = `wanderer_${randomBytes(4).toString('hex')}`
    await admin.query(`create role ${role} login superuser password 'x'`)
    try {
      const database = await open((url) => {
        url.username = role
        url.password = 'x'
      })
      await migrate(database)
      await admin.query(`create schema ${role}`)
      await admin.query(`alter role ${role} set search_path = ${role}`)
      await admin.query(
        `select pg_terminate_backend(pid, 5000) from pg_stat_activity
          where datname = current_database() and application_name = 'chorus-settings'`,
      )
      expect(await database.query({ text: 'select count(*)::int as n from conversations' })).toEqual([{ n: 0 }])
      await vi.waitFor(async () =>
        expect(
          await database.lane(0).run({ text: `select to_regclass('conversations') is not null as ok` }, 1_500),
        ).toEqual([{ ok: true }]),
      )
      await database.close()
      opened.splice(opened.indexOf(database), 1)
    } finally {
      await admin.query(`drop schema if exists ${role}`)
      await admin.query(`drop role ${role}`)
    }
  })

  it('[DB1] refuses to start if a setting does not apply, and names the setting', async () => {
    // Only a superuser may change this setting, but an administrator can preset it for a role.
    const role = `copier_${randomBytes(4).toString('hex')}`
    await admin.query(`create role ${role} login password 'x'`)
    await admin.query(`alter role ${role} set session_replication_role = replica`)
    try {
      await expect(
        open((url) => {
          url.username = role
          url.password = 'x'
        }),
      ).rejects.toThrow(
        /^unable to use the database that DATABASE_URL names; .*session_replication_role = replica.*origin/,
      )
    } finally {
      await admin.query(`drop role ${role}`)
    }
  })

  it('[DB1] refuses to start if no schema can be used', async () => {
    await expect(open((url) => url.searchParams.set('options', '-c search_path=nowhere'))).rejects.toThrow(
      /^unable to use the database that DATABASE_URL names; no schema of its search_path exists and is accessible$/,
    )
  })
})
