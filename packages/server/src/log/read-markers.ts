/**
 * Reads read markers and unread counts for many pairs of user and conversation in one snapshot
 * (rules ACL1, LIM2).
 */
import type { Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { unreadSql } from './read-conversations.ts'
import type { MemberPair } from './read-latest-pages.ts'

export interface MarkerState {
  /** Newest seq of the conversation. */
  readonly seq: number
  readonly readSeq: number
  readonly unread: number
}

/**
 * Returns a result for each pair of user and conversation, in order. Null where the user is not a
 * member. For a repeated pair, unread messages are counted only once.
 */
export async function readMarkers(database: Database, pairs: readonly MemberPair[]): Promise<(MarkerState | null)[]> {
  const keyOf = ({ user, conversation }: MemberPair): string => `${conversation} ${user}`
  const distinct = [...new Map(pairs.map((pair) => [keyOf(pair), pair])).values()]
  const rows = await database.query<{
    user_id: Id
    conversation: Id
    seq: number
    read_seq: number
    unread: number
  }>({
    name: 'read_markers',
    text: `select w.user_id, w.conversation, v.seq, me.read_seq,
                  ${unreadSql('w.conversation', 'me.read_seq', 'w.user_id')} as unread
             from unnest($1::uuid[], $2::uuid[]) w(user_id, conversation)
             cross join lateral (select m.read_seq from members m
               where m.conversation = w.conversation and m.user_id = w.user_id and m.left_seq is null limit 1) me
             cross join lateral (select c.seq from conversations c where c.id = w.conversation limit 1) v`,
    values: [distinct.map(({ user }) => user), distinct.map(({ conversation }) => conversation)],
  })
  const states = new Map(
    rows.map(({ user_id, conversation, seq, read_seq, unread }) => [
      keyOf({ user: user_id, conversation }),
      { seq, readSeq: read_seq, unread },
    ]),
  )
  return pairs.map((pair) => states.get(keyOf(pair)) ?? null)
}
