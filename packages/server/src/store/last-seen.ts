/** When people were last connected. Written late and best effort; no cursor or sweep depends on it. */
import type { Id } from '@chorus/protocol'
import type { Database } from './database.ts'

export async function readLastSeen(database: Database, users: readonly Id[]): Promise<Map<Id, string | null>> {
  const rows = await database.query<{ id: Id; last_seen_at: string | null }>({
    name: 'read_last_seen',
    text: 'select id, last_seen_at from users where id = any($1::uuid[])',
    values: [users],
  })
  return new Map(rows.map((row) => [row.id, row.last_seen_at]))
}

export async function saveLastSeen(database: Database, users: readonly Id[]): Promise<void> {
  if (users.length === 0) return
  await database.query({
    name: 'save_last_seen',
    text: 'update users set last_seen_at = now() where id = any($1::uuid[])',
    values: [users],
  })
}
