/**
 * Opens the configured database: a Postgres server, or the embedded engine in the data directory.
 */
import type { Database } from './database.ts'
import { openEmbeddedDatabase } from './database-embedded.ts'
import { openPostgresDatabase } from './database-postgres.ts'

export interface DatabaseChoice {
  readonly databaseUrl: string | undefined
  readonly dataDir: string
  readonly serverName: string
}

export async function openDatabase({ databaseUrl, dataDir, serverName }: DatabaseChoice): Promise<Database> {
  return databaseUrl === undefined
    ? openEmbeddedDatabase(dataDir)
    : openPostgresDatabase({ url: databaseUrl, applicationName: `chorus ${serverName}` })
}
