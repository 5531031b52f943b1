/**
 * The identity of an installation: the servers of one database. Installations may share one Redis, so every name there
 * begins with it. A failover keeps it: a promoted replica has the same system identifier. A dump that was loaded elsewhere
 * has another, because the cluster or the database is another. A copy of the files has another once `npm run restore` ran,
 * as it has to before a copy serves: that command changes the stored part.
 */
import { createHash } from 'node:crypto'
import type { Database } from './database.ts'

/** Reads it once, at the start: servers that run keep the name under which they began. */
export async function readInstallation(database: Database): Promise<string> {
  const [row] = await database.query<{ parts: string }>({
    text: `select concat_ws('.',
                    (select value from settings where key = 'epoch'),
                    (select system_identifier from pg_control_system()),
                    (select oid from pg_database where datname = current_database())) as parts`,
  })
  return createHash('sha256')
    .update(row?.parts ?? '')
    .digest('hex')
    .slice(0, idChars)
}

/** What every name of the installation in Redis begins with. Within `chorus:*`, which access rules of operators name. */
export function namespaceOf(installation: string): string {
  return `chorus:${installation}`
}

/** 64 bits: enough to keep apart what shares a Redis. */
const idChars = 16
