/**
 * Starts a new database history after a backup was restored (rule RES2). Clients and consumers
 * remember changes that the backup does not contain. The new epoch makes the server answer every
 * cursor with `reset`. All stored transaction ids are reset: ids of the old database mean nothing
 * in the new one and would block the sweep. All servers must be stopped while it runs.
 */
import { randomUUID } from 'node:crypto'
import type { Database } from '../database/database.ts'

/** First ordinary transaction id of any Postgres. */
const firstXid = '3'

export async function restoreHistory(database: Database): Promise<{ readonly epoch: string }> {
  await database.script(`
    update settings set value = '${randomUUID()}' where key = 'epoch';
    update changes set xid = '${firstXid}';
    update members set xid = '${firstXid}';
    update sessions set xid = '${firstXid}';
    update conversations set last_xid = '${firstXid}';`)
  return { epoch: await database.epoch() }
}
