/**
 * Opens a new, empty, migrated database for one test file. It is embedded in a temporary folder, or
 * on the Postgres server of TEST_POSTGRES_URL (with a superuser's name) if that is set. Tests run
 * on every engine of {@link testEngines}.
 */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { Database } from '../database.ts'
import { openEmbeddedDatabase } from '../database-embedded.ts'
import { openPostgresDatabase } from '../database-postgres.ts'
import { migrate } from '../migrate.ts'
import { embeddedTemplateOf } from './embedded-template.ts'

export type TestEngine = 'embedded' | 'postgres'

const postgresUrl = process.env.TEST_POSTGRES_URL ?? ''

export const testEngines: readonly TestEngine[] = postgresUrl === '' ? ['embedded'] : ['embedded', 'postgres']

export interface TestDatabase {
  readonly database: Database
  /** Address of the database for the test's own connections. Undefined for the embedded engine. */
  readonly url: string | undefined
  /**
   * Opens the database as a second server would. With the embedded engine it returns the same
   * database, because only one server can open that.
   */
  openSecond(): Promise<Database>
  close(): Promise<void>
}

/** Opens a test database. `createWith`: additional options of `create database` on Postgres. */
export async function openTestDatabase(engine: TestEngine, createWith = ''): Promise<TestDatabase> {
  return engine === 'embedded' ? openEmbedded() : openOnPostgres(createWith)
}

async function openEmbedded(): Promise<TestDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'chorus-test-'))
  await cp(await makeTemplate(), folder, { recursive: true })
  const database = await openEmbeddedDatabase(folder)
  await migrate(database)
  return {
    database,
    url: undefined,
    openSecond: async () => database,
    close: async () => {
      await database.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/**
 * Returns the folder of the template database. The first test file of a run creates it, which takes
 * seconds. The other test files copy it, which is fast.
 */
async function makeTemplate(): Promise<string> {
  const template = embeddedTemplateOf(process.ppid)
  if (existsSync(template)) return template
  const folder = await mkdtemp(join(tmpdir(), 'chorus-test-'))
  const database = await openEmbeddedDatabase(folder)
  await migrate(database)
  await database.close()
  try {
    await rename(folder, template)
  } catch (error) {
    // Another test file has created the template first.
    if (!existsSync(template)) throw error
    await rm(folder, { recursive: true, force: true })
  }
  return template
}

async function openOnPostgres(createWith: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  await administer(`create database ${name} ${createWith}`)
  const url = new URL(postgresUrl)
  url.pathname = `/${name}`
  const database = await openPostgresDatabase({ url: url.href, applicationName: 'chorus-test' })
  await migrate(database)
  const others: Database[] = []
  return {
    database,
    url: url.href,
    openSecond: async () => {
      const second = await openPostgresDatabase({ url: url.href, applicationName: 'chorus-test-2' })
      others.push(second)
      return second
    },
    close: async () => {
      await Promise.all(others.map((other) => other.close()))
      await database.close()
      await administer(`drop database ${name} with (force)`)
    },
  }
}

async function administer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: postgresUrl })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
