/**
 * Reads the stored facts about one change and one user, for an operator who looks for a lost
 * message. Never reads message text.
 */
import type { Id } from '@chorus/protocol'
import { foldHandle, foldHandleSql } from '../support/fold-text.ts'
import { validate as isUuid } from 'uuid'
import type { Database } from '../database/database.ts'

export interface TracedChange {
  readonly type: string
  readonly at: string
  readonly xid: number
  readonly actor: Id
  readonly editedAt: string | null
  readonly deletedAt: string | null
}

export interface TracedMember {
  readonly user: Id
  readonly handle: string
  /** Role of the user in the conversation. Null if the user was never a member. */
  readonly role: string | null
  readonly joinedSeq: number | null
  /** Seq of the user's removal. Null while the user is a member. */
  readonly leftSeq: number | null
  readonly readSeq: number | null
}

export interface Traced {
  /** Newest seq of the conversation. Null if the conversation does not exist. */
  readonly top: number | null
  readonly change: TracedChange | null
  readonly member: TracedMember | null
}

interface Row {
  readonly top: number | null
  readonly type: string | null
  readonly at: string
  readonly xid: string
  readonly actor: Id
  readonly edited_at: string | null
  readonly deleted_at: string | null
  readonly user_id: Id | null
  readonly handle: string
  readonly role: string | null
  readonly joined_seq: number | null
  readonly left_seq: number | null
  readonly read_seq: number | null
}

/** Reads the facts. `user` is a user id or a handle. */
export async function readTrace(database: Database, conversation: Id, seq: number, user: string): Promise<Traced> {
  const [row] = await database.query<Row>({
    text: `select v.seq::float8 as top, c.type, c.at, c.xid::text, c.actor, c.edited_at, c.deleted_at,
                  u.id as user_id, u.handle, m.role, m.joined_seq::float8 as joined_seq, m.left_seq::float8 as left_seq,
                  m.read_seq::float8 as read_seq
             from (select 1) one
             left join conversations v on v.id = $1
             left join changes c on c.conversation = $1 and c.seq = $2
             left join lateral (
               select id, handle from users where id = $4::uuid
               union all
               select id, handle from users where ${foldHandleSql('handle')} = $3
               limit 1) u on true
             left join lateral (
               select k.* from members k where k.conversation = $1 and k.user_id = u.id limit 1) m on true
            limit 1`,
    values: [conversation, seq, foldHandle(user), isUuid(user) ? user : null],
  })
  if (row === undefined) return { top: null, change: null, member: null }
  return {
    top: row.top,
    change:
      row.type === null
        ? null
        : {
            type: row.type,
            at: row.at,
            xid: Number(row.xid),
            actor: row.actor,
            editedAt: row.edited_at,
            deletedAt: row.deleted_at,
          },
    member:
      row.user_id === null
        ? null
        : {
            user: row.user_id,
            handle: row.handle,
            role: row.role,
            joinedSeq: row.joined_seq,
            leftSeq: row.left_seq,
            readSeq: row.read_seq,
          },
  }
}
