/**
 * Starts a server for tests that work on either database: on Postgres if there is one, because it
 * starts in a second, otherwise on the embedded database.
 */
import { hasPostgres, startServer, usePostgres } from '@chorus/testkit'
import type { ServerOptions, ServerProcess } from '@chorus/testkit'

export async function startQuickServer(options: ServerOptions = {}): Promise<ServerProcess> {
  if (options.databaseUrl !== undefined || !hasPostgres()) return startServer(options)
  const databases = await usePostgres()
  return startServer({ ...options, databaseUrl: await databases.createDatabase() })
}
