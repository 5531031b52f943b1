/** Starts the database, the change log, and the regular maintenance of the tables. */
import { keepNamesFolded } from '../accounts/fold-names.ts'
import { pruneSessions } from '../accounts/prune-sessions.ts'
import type { Database } from '../database/database.ts'
import { DatabaseTime } from '../database/database-time.ts'
import { maintainTables } from '../database/maintain-tables.ts'
import { migrate } from '../database/migrate.ts'
import { openDatabase } from '../database/open-database.ts'
import { CurrentEpoch } from '../health/current-epoch.ts'
import { pruneErasedIds } from '../erasure/erasure-store.ts'
import { pruneCalls } from '../keys/idempotency-store.ts'
import { ChangeLog } from '../log/change-log.ts'
import { serveOperatorCommands } from '../operator-commands/serve-operator-commands.ts'
import type { StartContext } from './start-context.ts'

export interface Store {
  readonly database: Database
  readonly epoch: CurrentEpoch
  readonly log: ChangeLog
  readonly time: DatabaseTime
}

export async function startStore({ config, logger, clock, lifecycle, metrics }: StartContext): Promise<Store> {
  const database = await openDatabase(config)
  await lifecycle.start({ name: 'database', stop: () => database.close() })
  await migrate(database)
  serveOperatorCommands(database, logger)
  const epoch = new CurrentEpoch(await database.epoch())
  database.onEpochChange((changed) => {
    logger.warn({ epoch: changed }, 'the database epoch changed: every client loads its data again')
    epoch.change(changed)
  })
  const log = new ChangeLog(
    database,
    {
      batchCommitted: (rows) => metrics.appendBatchRows.observe(rows),
      batchFailed: (error) => {
        metrics.databaseErrors.inc({ kind: error.kind })
        if (error.kind === 'bug') logger.error({ err: error }, 'the log refused a batch')
      },
    },
    () => clock.nowMs(),
  )
  await lifecycle.start({ name: 'log', stop: () => log.drain() })
  const time = await DatabaseTime.start(database, clock, (problem) =>
    logger.warn({ err: problem }, 'unable to read the time of the database; trying again'),
  )
  await lifecycle.start({ name: 'time', stop: async () => time.stop() })
  const stopMaintenance = maintainTables(database, clock, (problem) =>
    logger.warn({ err: problem }, 'unable to maintain the tables; trying again later'),
  )
  await lifecycle.start({ name: 'table maintenance', stop: async () => stopMaintenance() })
  const stopPruning = pruneSessions(
    database,
    clock,
    (problem) => logger.warn({ err: problem }, 'unable to delete old sessions; trying again later'),
    async (isStopped) => {
      await pruneCalls(database, isStopped)
      await pruneErasedIds(database, isStopped)
    },
  )
  await lifecycle.start({ name: 'session pruning', stop: async () => stopPruning() })
  const stopFolding = keepNamesFolded(database, clock, (problem) =>
    logger.warn({ err: problem }, 'unable to prepare names for search; trying again'),
  )
  await lifecycle.start({ name: 'folding of names', stop: async () => stopFolding() })
  return { database, epoch, log, time }
}
