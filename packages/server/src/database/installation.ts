/**
 * Identifies an installation: all servers that use one database. Several installations may share
 * one Redis, so every name that a server uses in Redis begins with the id of its installation.
 *
 * A failover keeps the id, because a promoted replica has the same system identifier. A dump that
 * was loaded elsewhere gets another id, because its cluster or database differs. A copy of the
 * files gets another id from `npm run restore`, which changes the stored part of the id. That
 * command must run before a copy serves clients.
 */
import { createHash } from 'node:crypto'
import type { Database } from './database.ts'

/**
 * Reads the id of the installation once, at the start. A running server keeps the id that it
 * started with.
 */
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

/**
 * Returns the prefix of all Redis names of the installation. It begins with `chorus:`, because
 * operators' access rules allow the pattern `chorus:*`.
 */
export function namespaceOf(installation: string): string {
  return `chorus:${installation}`
}

/**
 * Number of characters of the id. Its 64 bits are enough to distinguish installations that share a
 * Redis.
 */
const idChars = 16
