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

/** A time never goes back: several servers may know of one user. */
export async function saveLastSeen(
  database: Database,
  seen: readonly { readonly user: Id; readonly at: string }[],
): Promise<void> {
  if (seen.length === 0) return
  await database.query({
    name: 'save_last_seen',
    text: `update users u set last_seen_at = greatest(u.last_seen_at, s.at)
             from unnest($1::uuid[], $2::timestamptz[]) s(id, at) where u.id = s.id`,
    values: [seen.map(({ user }) => user), seen.map(({ at }) => at)],
  })
}
