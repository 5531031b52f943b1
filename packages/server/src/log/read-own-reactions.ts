/**
 * Reads the emoji that one user has put on one message, in every Unicode spelling that was ever
 * stored.
 */
import type { Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

/** Maximum number of emoji that one call reads. */
const kindsMax = 200

export async function readOwnReactions(
  database: Database,
  { conversation, target, user }: { readonly conversation: Id; readonly target: number; readonly user: Id },
): Promise<readonly string[]> {
  const rows = await database.query<{ emoji: string }>({
    name: 'read_own_reactions',
    text: `select emoji from reactions
            where conversation = $1 and target = $2 and user_id = $3 and not removed
            order by emoji limit $4`,
    values: [conversation, target, user, kindsMax],
  })
  return rows.map(({ emoji }) => emoji)
}
