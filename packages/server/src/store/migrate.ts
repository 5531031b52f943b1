/**
 * Brings the schema up to date: numbered SQL files, each once, in order, under an advisory lock so that servers starting
 * together do it one at a time. A file that changed after it ran, or a schema newer than this server, stops the start.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { StartError } from '../support/start-error.ts'
import type { Database } from './database.ts'

/** Any constant will do, as long as nobody else uses it. */
const advisoryLockKey = 5_091_622

/** Until the end of the script one server at a time; the others wait as long as a migration may take, not as long as a row lock. */
const takeTurns = `select set_config('lock_timeout', '60s', true); select pg_advisory_xact_lock(${advisoryLockKey})`

interface Migration {
  readonly version: number
  readonly name: string
  readonly text: string
  readonly checksum: string
}

/** From source or built, the SQL files stand in src/store/migrations. */
function readMigrations(): Migration[] {
  const directory = new URL('../../src/store/migrations/', import.meta.url)
  return readdirSync(directory)
    .filter((name) => /^\d{3}-.*\.sql$/.test(name))
    .sort()
    .map((name) => {
      const text = readFileSync(new URL(name, directory), 'utf8')
      return {
        version: Number(name.slice(0, 3)),
        name,
        text,
        checksum: createHash('sha256').update(text).digest('hex'),
      }
    })
}

export async function migrate(database: Database): Promise<void> {
  const migrations = readMigrations()
  // Two servers that create the same table at once fail on Postgres' own catalogue, "if not exists" or not.
  await database.script(`${takeTurns};
    create table if not exists migrations (
      version integer primary key, name text not null, checksum text not null, applied_at timestamptz not null default now()
    )`)
  const applied = new Map(
    (
      await database.query<{ version: number; checksum: string }>({ text: 'select version, checksum from migrations' })
    ).map((row) => [row.version, row.checksum]),
  )
  const newest = migrations.at(-1)?.version ?? 0
  for (const version of applied.keys()) {
    if (version > newest) {
      throw new StartError(
        `unable to use the database; its schema (${version}) is newer than this server (${newest}): upgrade the server`,
      )
    }
  }
  for (const { version, name, text, checksum } of migrations) {
    const known = applied.get(version)
    if (known !== undefined && known !== checksum) {
      throw new StartError(`unable to use the database; migration ${name} is not the one that was applied`)
    }
    if (known !== undefined) continue
    // A script is one implicit transaction: of two servers the second finds it done and its insert fails cleanly.
    await database
      .script(
        `${takeTurns};
         insert into migrations (version, name, checksum) values (${version}, '${name}', '${checksum}');
         ${text}`,
      )
      .catch(async (error: unknown) => {
        const rows = await database.query({ text: 'select from migrations where version = $1', values: [version] })
        if (rows.length === 0)
          throw new StartError(`unable to bring the database's schema up to date; ${name}: ${String(error)}`, {
            cause: error,
          })
      })
  }
  await database.script(`
    insert into settings (key, value) values
      ('epoch', '${randomUUID()}'), ('cookie-secret', '${newKey()}'), ('bus-key', '${newKey()}'), ('cursor-key', '${newKey()}')
    on conflict (key) do nothing`)
}

function newKey(): string {
  return randomBytes(32).toString('hex')
}
