/** The schema: brought up to date once, by many servers at once, and never over what it does not know. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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

  it('a second start changes nothing, and keeps the keys and the epoch', async () => {
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

  it.runIf(engine === 'postgres')(
    'servers that start together on an empty database do it once, one after the other',
    async () => {
      for (let round = 0; round < 3; round++) {
        await store.database.script('drop schema public cascade; create schema public')
        const servers = await Promise.all([1, 2, 3, 4].map(() => store.openSecond()))
        await Promise.all(servers.map((server) => migrate(server)))
        const versions = await sql<{ version: number }>('select version from migrations order by version')
        expect(versions.map(({ version }) => version)).toEqual(versions.map((_, index) => index + 1))
        const secrets = await Promise.all(servers.map((server) => readSetting(server, 'cookie-secret')))
        expect(new Set(secrets).size).toBe(1)
      }
    },
  )

  it('stops in one line at a migration that changed after it ran, and at a newer schema', async () => {
    await sql(`update migrations set checksum = 'another' where version = 1`)
    await expect(migrate(store.database)).rejects.toThrow(/^unable to use the database; migration 001.*$/)
    await sql(`insert into migrations (version, name, checksum) values (999, 'later', '')`)
    await expect(migrate(store.database)).rejects.toThrow(
      /^unable to use the database; its schema \(999\) is newer.*upgrade the server$/,
    )
  })

  it('says in one line what is missing', async () => {
    await sql(`delete from settings where key = 'bus-key'`)
    await expect(readSetting(store.database, 'bus-key')).rejects.toThrow(
      /^unable to use the database; its setting bus-key is missing$/,
    )
  })
})
