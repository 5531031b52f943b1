/**
 * Migrates the database schema: numbered SQL files, each applied once, in order, and then the SQL
 * functions (functions.ts). The migrations contain tables and data; the functions in older
 * migrations are superseded. An advisory lock makes servers that start together take turns. The
 * start fails if an applied file has changed or the schema is newer than this server. If the schema
 * is up to date, nothing is created, so a role without the right to create tables can start the
 * server.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { StartError } from '../support/start-error.ts'
import type { Database } from './database.ts'
import { functionSet } from './function-set.ts'
import { installScript, readFunctionSetNumber } from './functions.ts'
import { withUnixLineEnds } from './line-ends.ts'

/**
 * Key of the advisory lock for migrations. Its value only has to differ from the keys of all other
 * locks.
 */
const advisoryLockKey = 5_091_622

/**
 * SQL that lets one server at a time migrate. The other servers wait up to 60 s: as long as a
 * migration may take, and longer than the timeout of a row lock.
 */
const takeTurns = `select set_config('lock_timeout', '60s', true); select pg_advisory_xact_lock(${advisoryLockKey})`

interface Migration {
  readonly version: number
  readonly name: string
  readonly text: string
  readonly checksum: string
  /**
   * Checksum of the same file with Windows line ends. A server whose checkout has such line ends
   * has stored this checksum.
   */
  readonly crlfChecksum: string
}

/**
 * Reads the SQL files of the migrations. They are in src/database/migrations, for a server run from
 * source and for the built one.
 */
function readMigrations(): Migration[] {
  const directory = new URL('../../src/database/migrations/', import.meta.url)
  return readdirSync(directory)
    .filter((name) => /^\d{3}-.*\.sql$/.test(name))
    .sort()
    .map((name) => {
      const text = withUnixLineEnds(readFileSync(new URL(name, directory), 'utf8'))
      return {
        version: Number(name.slice(0, 3)),
        name,
        text,
        checksum: checksumOf(text),
        crlfChecksum: checksumOf(text.replaceAll('\n', '\r\n')),
      }
    })
}

const checksumOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/**
 * Applies all missing migrations. If none is missing, it changes nothing and needs no right to
 * create anything.
 */
export async function migrate(database: Database): Promise<void> {
  const migrations = readMigrations()
  let applied = await readApplied(database)
  const newest = migrations.at(-1)?.version ?? 0
  for (const version of applied.keys()) {
    if (version > newest) {
      throw new StartError(
        `unable to use the database; its schema (${version}) is newer than this server (${newest}): upgrade the server`,
      )
    }
  }
  for (const { version, name, checksum, crlfChecksum } of migrations) {
    const known = applied.get(version)
    if (known === undefined || known === checksum || known === crlfChecksum) continue
    throw new StartError(`unable to use the database; migration ${name} differs from the one that was applied`)
  }
  if (applied.size === 0) {
    // When two servers create the same table at once, one of the statements fails, even with "if
    // not exists". So let the servers take turns.
    await change(
      database,
      'migrations',
      `${takeTurns};
       create table if not exists migrations (
         version integer primary key, name text not null, checksum text not null, applied_at timestamptz not null default now()
       )`,
    )
  }
  for (const { version, name, text, checksum } of migrations) {
    if (applied.has(version)) continue
    // A script is one implicit transaction. If another server has applied this migration, its row
    // exists, so the insert fails and the whole script is rolled back.
    await change(
      database,
      name,
      `${takeTurns};
       insert into migrations (version, name, checksum) values (${version}, '${name}', '${checksum}');
       ${text}`,
      async () => {
        applied = await readApplied(database)
        return applied.has(version)
      },
    )
  }
  await makeSettings(database)
  if ((await readFunctionSetNumber(database)) < functionSet.number)
    await change(database, 'functions', installScript(takeTurns))
}

async function readApplied(database: Database): Promise<Map<number, string>> {
  const [table] = await database.query<{ is_there: boolean }>({
    text: `select to_regclass('migrations') is not null as is_there`,
  })
  if (table?.is_there !== true) return new Map()
  const rows = await database.query<{ version: number; checksum: string }>({
    text: 'select version, checksum from migrations',
  })
  return new Map(rows.map((row) => [row.version, row.checksum]))
}

/**
 * Runs a script. Ignores its failure if `isDone` reports that another server has made the same
 * change.
 */
async function change(
  database: Database,
  name: string,
  script: string,
  isDone: () => Promise<boolean> = () => Promise.resolve(false),
): Promise<void> {
  try {
    await database.script(script)
  } catch (error) {
    if (await isDone()) return
    throw describeFailure(name, error)
  }
}

const deniedState = '42501'

function describeFailure(name: string, error: unknown): StartError {
  const what = "unable to bring the database's schema up to date"
  const isDenied = typeof error === 'object' && error !== null && 'code' in error && error.code === deniedState
  const reason = error instanceof Error ? error.message : 'the database rejected it'
  return new StartError(
    isDenied
      ? `${what}; the role in DATABASE_URL may not do what ${name} does (${reason}): start once with the role that owns the tables`
      : `${what}; ${name}: ${reason}`,
    { cause: error },
  )
}

/** Creates the secrets that the database stores for all servers, if they do not exist yet. */
async function makeSettings(database: Database): Promise<void> {
  const made = { epoch: randomUUID(), 'cookie-secret': randomKey(), 'bus-key': randomKey(), 'cursor-key': randomKey() }
  const keys = Object.keys(made)
  const known = await database.query({ text: 'select from settings where key = any ($1::text[])', values: [keys] })
  if (known.length === keys.length) return
  const values = Object.entries(made).map(([key, value]) => `('${key}', '${value}')`)
  await change(
    database,
    'settings',
    `insert into settings (key, value) values ${values.join(', ')} on conflict (key) do nothing`,
  )
}

const randomKey = (): string => randomBytes(32).toString('hex')
