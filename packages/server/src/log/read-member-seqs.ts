/**
 * Reads membership and the newest seq for many pairs of user and conversation in one snapshot
 * (rules ACL1, LIM2).
 */
import type { Database } from '../database/database.ts'
import type { MemberPair } from './read-latest-pages.ts'

/**
 * Returns the newest seq of the conversation for each pair, in order. Null where the user is not a
 * member.
 */
export async function readMemberSeqs(database: Database, pairs: readonly MemberPair[]): Promise<(number | null)[]> {
  const rows = await database.query<{ i: number; seq: number }>({
    name: 'read_member_seqs',
    text: `select w.i::int as i, v.seq from unnest($1::uuid[], $2::uuid[]) with ordinality w(user_id, conversation, i)
             cross join lateral (select from members m
               where m.conversation = w.conversation and m.user_id = w.user_id and m.left_seq is null limit 1) me
             cross join lateral (select c.seq from conversations c where c.id = w.conversation limit 1) v`,
    values: [pairs.map(({ user }) => user), pairs.map(({ conversation }) => conversation)],
  })
  const seqs: (number | null)[] = pairs.map(() => null)
  for (const { i, seq } of rows) seqs[i - 1] = seq
  return seqs
}
