/**
 * Runs `npm run restore`, which starts a new database history after a backup was restored (see
 * log/restore-history.ts). Reads the same environment variables as the server.
 */
import { readConfig } from './config/config.ts'
import { openDatabase } from './database/open-database.ts'
import { migrate } from './database/migrate.ts'
import { restoreHistory } from './log/restore-history.ts'
import { StartError } from './support/start-error.ts'

try {
  const database = await openDatabase(readConfig(process.env))
  try {
    await migrate(database)
    const { epoch } = await restoreHistory(database)
    process.stdout.write(`restored: the new epoch is ${epoch}; every client will load its data again\n`)
  } finally {
    await database.close()
  }
} catch (error) {
  const reason =
    error instanceof StartError
      ? error.message
      : `unable to restore; ${error instanceof Error ? error.message : 'something failed'}`
  process.stderr.write(`${reason.replaceAll('\n', ' ')}\n`)
  process.exitCode = 1
}
