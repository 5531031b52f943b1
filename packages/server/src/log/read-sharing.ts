/** Reads whether users share a conversation, for many pairs in one statement (rule PRES2). */
import type { Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

export interface UserPair {
  readonly user: Id
  readonly other: Id
}

/**
 * Returns for each pair, in order, whether both users are members of the same conversation. For a
 * user paired with themselves, returns true.
 */
export async function readSharedPairs(database: Database, pairs: readonly UserPair[]): Promise<boolean[]> {
  const rows = await database.query<{ i: number }>({
    name: 'read_shared_pairs',
    text: `select w.i::int as i from unnest($1::uuid[], $2::uuid[]) with ordinality w(user_id, other, i)
            where w.user_id = w.other or exists (
              select from members mine join members theirs on theirs.conversation = mine.conversation
               where mine.user_id = w.user_id and mine.left_seq is null
                 and theirs.user_id = w.other and theirs.left_seq is null)`,
    values: [pairs.map(({ user }) => user), pairs.map(({ other }) => other)],
    timeoutMs: 2_000,
  })
  const shared = new Set(rows.map(({ i }) => i))
  return pairs.map((_pair, index) => shared.has(index + 1))
}

/** Returns the users among `users` who are members of the conversation. */
export async function readMembersAmong(database: Database, conversation: Id, users: readonly Id[]): Promise<Set<Id>> {
  const rows = await database.query<{ user_id: Id }>({
    name: 'read_members_among',
    text: `select m.user_id from members m
            where m.conversation = $1 and m.user_id = any($2::uuid[]) and m.left_seq is null`,
    values: [conversation, users],
  })
  return new Set(rows.map((row) => row.user_id))
}
