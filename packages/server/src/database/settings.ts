/**
 * Reads settings that the database stores for all servers: the epoch and the secret keys of
 * cookies, cursors, mail links and the bus.
 */
import { StartError } from '../support/start-error.ts'
import type { Database } from './database.ts'

export async function readSetting(
  database: Database,
  key: 'cookie-secret' | 'cursor-key' | 'bus-key' | 'mail-key' | 'epoch',
): Promise<string> {
  const rows = await database.query<{ value: string }>({
    text: 'select value from settings where key = $1',
    values: [key],
  })
  const [row] = rows
  if (row === undefined) throw new StartError(`unable to use the database; its setting ${key} is missing`)
  return row.value
}
