/**
 * A server for tests that do not ask which engine is under it: on Postgres where there is one, since that starts in a
 * second, otherwise on the embedded database.
 */
import { hasPostgres, startServer, usePostgres } from '@chorus/testkit'
import type { ServerOptions, ServerProcess } from '@chorus/testkit'

export async function startQuickServer(options: ServerOptions = {}): Promise<ServerProcess> {
  if (!hasPostgres()) return startServer(options)
  const databases = await usePostgres()
  return startServer({ ...options, databaseUrl: await databases.createDatabase() })
}
