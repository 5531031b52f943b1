/**
 * After a backup was put back: the history that clients and consumers remember is not this one any more (rule RES2). A new
 * epoch makes every cursor answer with `reset`; every transaction id is set back, because those of the old history mean
 * nothing to the new server and would stand in the way of the sweep. Run with all servers stopped.
 */
import { randomUUID } from 'node:crypto'
import type { Database } from './database.ts'

/** The first ordinary transaction id of any Postgres. */
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
