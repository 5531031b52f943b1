/**
 * Reads the conversations of a connection's user, the newest seq of each, and whether the log or
 * the membership has changed since the client's position. One statement serves many clients, so a
 * reconnect storm costs few statements (rule LIM2).
 */
import type { Id, Role } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { positionMaxSql, positionSql } from './position.ts'
import { unreadSql } from './read-conversations.ts'

export interface MembershipsRequest {
  readonly user: Id
  /**
   * Position of the client: it has everything written before. 0: the client has nothing.
   * `nothingMoved`: the client has everything.
   */
  readonly position: number
  /** Session whose validity is checked as well. Null: no session is checked. */
  readonly session: Id | null
  /** Page to read. Default: all current memberships, and those that ended since the position. */
  readonly page?: MembershipsPage
}

/**
 * Request for one page of the conversations whose log or membership changed since the position,
 * ordered by id. In a page, `unread` is always 0. With readUnread, the caller counts the unread
 * messages of the conversations that it shows.
 */
export interface MembershipsPage {
  /** First conversation of the page. Undefined: start at the beginning. */
  readonly from: Id | undefined
  readonly limit: number
}

/** Position later than every transaction, so that no conversation counts as changed. */
export const nothingMoved = Number.MAX_SAFE_INTEGER

export interface Membership {
  readonly conversation: Id
  readonly role: Role
  /** Newest seq of the conversation in the snapshot. */
  readonly seq: number
  readonly readSeq: number
  /**
   * Number of unread messages. Counted only if the membership changed and no page was requested.
   * Otherwise 0, because most resuming clients do not need the count.
   */
  readonly unread: number
  readonly joinedSeq: number
  /** Null for members. Otherwise the seq of the removal, which happened since the position. */
  readonly leftSeq: number | null
  /** True when the log has grown since the position. */
  readonly logMoved: boolean
  /** True when the membership or the read marker has changed since the position. */
  readonly membershipMoved: boolean
}

export interface Memberships {
  /**
   * Position of the snapshot. A client that continues from it misses no change and gets none twice.
   */
  readonly position: number
  /** Highest valid position. A higher position comes from another database history. */
  readonly positionMax: number
  /** True when the session is valid, or when no session was checked. */
  readonly isSessionLive: boolean
  /** Memberships ordered by conversation id. */
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

/** Returns one result for each request, all from one snapshot. */
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
             -- Both LIMITs keep this a walk over one user's memberships with one look-up each,
             -- whatever the statistics are.
             left join lateral (
               select k.conversation, k.role, k.read_seq, k.joined_seq, k.left_seq, v.seq,
                      v.last_xid >= w.position::xid8 as log_moved, k.xid >= w.position::xid8 as membership_moved
                 from members k
                 cross join lateral (select c.seq, c.last_xid from conversations c where c.id = k.conversation limit 1) v
                where k.user_id = w.user_id
                  and k.conversation >= coalesce(w.first, '00000000-0000-0000-0000-000000000000')
                  and (k.left_seq is null or k.xid >= w.position::xid8)
                  and (w.rows is null or v.last_xid >= w.position::xid8 or k.xid >= w.position::xid8)
                  -- A first load reads only current memberships, and the conversation at which the last
                  -- page ended: the user may have left it since.
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

/**
 * Returns the read marker and the unread count for these conversations. Leaves out conversations
 * that the user is not a member of.
 */
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

/** Returns the users in `users` who share a conversation with `user` (rule PRES2). */
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
