/**
 * Moves read markers: never back, and never past the newest seq. The update also changes the `xid`
 * column of the membership row, so that sweeps and resuming clients notice the move.
 */
import type { Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { unreadSql } from './read-conversations.ts'

export interface ReadMarker {
  readonly readSeq: number
  readonly moved: boolean
  readonly unread: number
  /** Newest seq of the conversation. */
  readonly seq: number
}

/** Moves the user's read marker to `seq`. Returns undefined for non-members. */
export async function markRead(
  database: Database,
  user: Id,
  conversation: Id,
  seq: number,
): Promise<ReadMarker | undefined> {
  const rows = await database.query<{ read_seq: number; moved: boolean; seq: number; unread: number }>({
    name: 'mark_read',
    text: `with before as (
             select m.read_seq, v.seq from members m join conversations v on v.id = m.conversation
              where m.conversation = $1 and m.user_id = $2 and m.left_seq is null
           ), after as (
             update members m set read_seq = least($3::bigint, before.seq), xid = pg_current_xact_id()
               from before
              where m.conversation = $1 and m.user_id = $2 and m.left_seq is null and m.read_seq < least($3::bigint, before.seq)
             returning m.read_seq
           )
           select coalesce(after.read_seq, before.read_seq) as read_seq, after.read_seq is not null as moved, before.seq,
                  ${unreadSql('$1', 'coalesce(after.read_seq, before.read_seq)', '$2')} as unread
             from before left join after on true`,
    values: [conversation, user, seq],
  })
  const row = rows[0]
  return row === undefined ? undefined : { readSeq: row.read_seq, moved: row.moved, unread: row.unread, seq: row.seq }
}
