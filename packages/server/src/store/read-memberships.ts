/**
 * What a connection needs to know of its user: the conversations, how far each log goes, and what changed since a
 * position. Read for many clients at once, so that a storm costs a few statements (rule LIM2).
 */
import type { Id, Role } from '@chorus/protocol'
import type { Database } from './database.ts'
import { positionMaxSql, positionSql } from './position.ts'
import { unreadSql } from './read-conversations.ts'

export interface MembershipsRequest {
  readonly user: Id
  /** What was written before it is known; 0: nothing is; `nothingMoved`: everything is. */
  readonly position: number
  /** The session to look at, too; null where none is asked about. */
  readonly session: Id | null
  /** Only so many; left out: every current membership, and those that ended since the position. */
  readonly page?: MembershipsPage
}

/**
 * A part of those whose log or membership moved since the position, in the order of their ids. Of such a part `unread`
 * is not counted, because the asker may show less: see readUnread.
 */
export interface MembershipsPage {
  /** The first conversation wanted; undefined: from the beginning. */
  readonly from: Id | undefined
  readonly limit: number
}

/** As a position: later than everything. */
export const nothingMoved = Number.MAX_SAFE_INTEGER

export interface Membership {
  readonly conversation: Id
  readonly role: Role
  /** Top of the log as of the snapshot. */
  readonly seq: number
  readonly readSeq: number
  /** Counted only where the membership moved, and not in a page; otherwise 0: most who come back have no use for it. */
  readonly unread: number
  readonly joinedSeq: number
  /** Null while a member; otherwise the seq of the removal, which happened since the position. */
  readonly leftSeq: number | null
  /** Was anything logged since the position? */
  readonly logMoved: boolean
  /** Did the membership or the read marker change since the position? */
  readonly membershipMoved: boolean
}

export interface Memberships {
  /** The snapshot's own position: what follows a cursor that holds it is everything not covered here. */
  readonly position: number
  /** A position above this one is of another history. */
  readonly positionMax: number
  /** Does the session still count? True where none was asked about. */
  readonly isSessionLive: boolean
  /** In the order of their ids. */
  readonly memberships: readonly Membership[]
}

interface Row {
  readonly i: number
  readonly position: number
  readonly position_max: number
  readonly session_live: boolean
  readonly conversation: Id | null
  readonly role: Role
  readonly seq: number
  readonly read_seq: number
  readonly unread: number
  readonly joined_seq: number
  readonly left_seq: number | null
  readonly log_moved: boolean
  readonly membership_moved: boolean
}

/** One answer per request, all from one snapshot. */
export async function readMemberships(
  database: Database,
  requests: readonly MembershipsRequest[],
): Promise<Memberships[]> {
  const rows = await database.query<Row>({
    name: 'read_memberships',
    text: `select w.i::int as i, p.position, p.position_max, m.conversation,
                  w.session is null or exists (
                    select from sessions s join users u on u.id = s.user_id
                     where s.id = w.session and s.revoked_at is null and s.expires_at > now() and u.disabled_at is null) as session_live,
                  m.role, m.seq, m.read_seq, m.joined_seq, m.left_seq, m.log_moved, m.membership_moved,
                  case when w.rows is null and m.left_seq is null and m.membership_moved
                    then ${unreadSql('m.conversation', 'm.read_seq', 'w.user_id')} else 0 end as unread
             from (select ${positionSql} as position, ${positionMaxSql} as position_max) p
             cross join unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::int[])
               with ordinality w(user_id, position, session, first, rows, i)
             -- Both LIMITs keep this a walk along one user's memberships, with a look-up each, whatever the statistics say.
             left join lateral (
               select k.conversation, k.role, k.read_seq, k.joined_seq, k.left_seq, v.seq,
                      v.last_xid >= w.position::xid8 as log_moved, k.xid >= w.position::xid8 as membership_moved
                 from members k
                 cross join lateral (select c.seq, c.last_xid from conversations c where c.id = k.conversation limit 1) v
                where k.user_id = w.user_id
                  and k.conversation >= coalesce(w.first, '00000000-0000-0000-0000-000000000000')
                  and (k.left_seq is null or k.xid >= w.position::xid8)
                  and (w.rows is null or v.last_xid >= w.position::xid8 or k.xid >= w.position::xid8)
                  -- A first load is of what one is in; only what its last page showed can have been left since.
                  and (w.rows is null or k.left_seq is null or w.position <> '0' or k.conversation = w.first)
                order by k.conversation limit w.rows) m on true
            order by w.i, m.conversation`,
    values: [
      requests.map(({ user }) => user),
      requests.map(({ position }) => String(position)),
      requests.map(({ session }) => session),
      requests.map(({ page }) => page?.from ?? null),
      requests.map(({ page }) => page?.limit ?? null),
    ],
  })
  const answers = requests.map(
    (): { position: number; positionMax: number; isSessionLive: boolean; memberships: Membership[] } => ({
      position: 0,
      positionMax: 0,
      isSessionLive: false,
      memberships: [],
    }),
  )
  for (const row of rows) {
    const answer = answers[row.i - 1]
    if (answer === undefined) continue
    answer.position = row.position
    answer.positionMax = row.position_max
    answer.isSessionLive = row.session_live
    if (row.conversation === null) continue
    answer.memberships.push({
      conversation: row.conversation,
      role: row.role,
      seq: row.seq,
      readSeq: row.read_seq,
      unread: row.unread,
      joinedSeq: row.joined_seq,
      leftSeq: row.left_seq,
      logMoved: row.log_moved,
      membershipMoved: row.membership_moved,
    })
  }
  return answers
}

export interface Unread {
  readonly readSeq: number
  readonly unread: number
}

/** The read marker and what is unread behind it, of those of these conversations that the user is a member of. */
export async function readUnread(
  database: Database,
  user: Id,
  conversations: readonly Id[],
): Promise<ReadonlyMap<Id, Unread>> {
  const rows = await database.query<{ conversation: Id; read_seq: number; unread: number }>({
    name: 'read_unread',
    text: `select w.id as conversation, m.read_seq, ${unreadSql('w.id', 'm.read_seq', '$1')} as unread
             from unnest($2::uuid[]) w(id)
             cross join lateral (
               select k.read_seq from members k
                where k.conversation = w.id and k.user_id = $1 and k.left_seq is null limit 1) m`,
    values: [user, conversations],
  })
  return new Map(rows.map((row) => [row.conversation, { readSeq: row.read_seq, unread: row.unread }]))
}

/** Those of `users` with whom `user` shares a conversation (rule PRES2). */
export async function readSharing(database: Database, user: Id, users: readonly Id[]): Promise<Set<Id>> {
  const rows = await database.query<{ id: Id }>({
    name: 'read_sharing',
    text: `select w.id from unnest($2::uuid[]) w(id)
            where w.id = $1 or exists (
              select from members mine join members theirs on theirs.conversation = mine.conversation
               where mine.user_id = $1 and mine.left_seq is null and theirs.user_id = w.id and theirs.left_seq is null)`,
    values: [user, users],
  })
  return new Set(rows.map((row) => row.id))
}
