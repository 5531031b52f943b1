/**
 * Tests the migrations of the database schema: each is applied once, even by many servers that
 * start at once, and never on an unknown schema.
 */
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openPostgresDatabase } from './database-postgres.ts'
import { withUnixLineEnds } from './line-ends.ts'
import { migrate } from './migrate.ts'
import { readSetting } from './settings.ts'
import { openTestDatabase, type TestDatabase, testEngines } from './testing/open-test-database.ts'

describe.each(testEngines)('migrations on the %s engine', (engine) => {
  let store: TestDatabase
  beforeAll(async () => {
    store = await openTestDatabase(engine)
  })
  afterAll(() => store.close())

  const sql = <Row>(text: string): Promise<Row[]> => store.database.query<Row>({ text })

  it('a second start migrates nothing and keeps keys and epoch', async () => {
    const keys = ['epoch', 'cookie-secret', 'bus-key'] as const
    const before = await Promise.all(keys.map((key) => readSetting(store.database, key)))
    const applied = await sql('select version, name, checksum, applied_at from migrations order by version')
    const epoch = await store.database.epoch()
    await migrate(store.database)
    expect(await Promise.all(keys.map((key) => readSetting(store.database, key)))).toEqual(before)
    expect(await sql('select version, name, checksum, applied_at from migrations order by version')).toEqual(applied)
    expect(await store.database.epoch()).toBe(epoch)
    expect(epoch).toContain(before[0])
  })

  it.runIf(engine === 'postgres')('concurrent starts on an empty database apply each migration once', async () => {
    for (let round = 0; round < 3; round++) {
      await store.database.script('drop schema public cascade; create schema public')
      const servers = await Promise.all([1, 2, 3, 4].map(() => store.openSecond()))
      await Promise.all(servers.map((server) => migrate(server)))
      const versions = await sql<{ version: number }>('select version from migrations order by version')
      expect(versions[0]).toEqual({ version: 1 })
      expect(new Set(versions.map(({ version }) => version)).size).toBe(versions.length)
      const secrets = await Promise.all(servers.map((server) => readSetting(server, 'cookie-secret')))
      expect(new Set(secrets).size).toBe(1)
    }
  })

  it('[MIG1] accepts a migration file whose line ends differ', async () => {
    const text = readFileSync(new URL('./migrations/001-initial.sql', import.meta.url), 'utf8')
    const asOnWindows = withUnixLineEnds(text).replaceAll('\n', '\r\n')
    expect(withUnixLineEnds(asOnWindows)).toBe(withUnixLineEnds(text))
    const checksum = createHash('sha256').update(asOnWindows).digest('hex')
    const [before] = await sql<{ checksum: string }>('select checksum from migrations where version = 1')
    await sql(`update migrations set checksum = '${checksum}' where version = 1`)
    await migrate(store.database)
    await sql(`update migrations set checksum = '${before?.checksum}' where version = 1`)
  })

  it('refuses a changed migration and a newer schema with one-line errors', async () => {
    await sql(`update migrations set checksum = 'another' where version = 1`)
    await expect(migrate(store.database)).rejects.toThrow(/^unable to use the database; migration 001.*$/)
    await sql(`insert into migrations (version, name, checksum) values (999, 'later', '')`)
    await expect(migrate(store.database)).rejects.toThrow(
      /^unable to use the database; its schema \(999\) is newer.*upgrade the server$/,
    )
  })

  it('a one-line error names a setting that is missing in the database', async () => {
    await sql(`delete from settings where key = 'bus-key'`)
    await expect(readSetting(store.database, 'bus-key')).rejects.toThrow(
      /^unable to use the database; its setting bus-key is missing$/,
    )
  })
})

describe.runIf(testEngines.includes('postgres'))('a start with a role that may not create tables', () => {
  const role = `reader_${randomBytes(4).toString('hex')}`
  let store: TestDatabase
  let admin: pg.Client
  let url: URL
  beforeAll(async () => {
    store = await openTestDatabase('postgres')
    admin = new pg.Client({ connectionString: store.url })
    await admin.connect()
    await admin.query(`create role ${role} login password 'x'`)
    await admin.query(`revoke create on schema public from public`)
    await admin.query(`grant select, insert, update, delete on all tables in schema public to ${role}`)
    url = new URL(store.url ?? '')
    url.username = role
    url.password = 'x'
  })
  afterAll(async () => {
    await store.close()
    const again = new pg.Client({ connectionString: process.env.TEST_POSTGRES_URL })
    await again.connect()
    await again.query(`drop role ${role}`)
    await again.end()
  })

  it('[MIG1] a start without the right to create tables works only with a current schema', async () => {
    const database = await openPostgresDatabase({ url: url.href, applicationName: 'chorus-reader' })
    try {
      await migrate(database)
      expect(await database.epoch()).toBe(await store.database.epoch())
      await admin.query(`delete from migrations where version = (select max(version) from migrations)`)
      await expect(migrate(database)).rejects.toThrow(
        /^unable to bring the database's schema up to date; the role in DATABASE_URL may not do what \d{3}-.*$/,
      )
      await admin.query('drop table migrations')
      await expect(migrate(database)).rejects.toThrow(/the role in DATABASE_URL may not do what migrations does/)
    } finally {
      await database.close()
      await admin.end()
    }
  })
})
