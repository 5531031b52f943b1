/**
 * Reads the changes of one conversation: ranges for the server's own repair and replay, pages for
 * members.
 */
import { type Change, type Id, limits } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { type ChangeRow, type LoggedChange, toChange, toLoggedChange } from '../support/logged-change.ts'
import { rewriteTypes } from '../support/message-state.ts'
import { messagePairs, subjectJson } from './message-sql.ts'
import { xidParameter } from './position.ts'

/**
 * SQL for the JSON of a message, with the same fields as `message_detail`. An edit updates the row
 * of the created message in place, so the current text is in that row.
 */
const messageJson = `
  case c.type
    when 'message.created' then json_build_object(${messagePairs})
    ${rewriteTypes.map((type) => `when '${type}' then message_detail(c.conversation, c.target)`).join('\n    ')}
  end`
/** SQL for the subject of the conversation, as it is now, in changes that contain the conversation. */
const changedSubject = `case when c.type in ('conversation.created', 'conversation.updated') and v.subject_type is not null
  then ${subjectJson} end`
const columns = `c.conversation, c.seq, c.xid::text as xid, c.at, c.type, c.actor, c.target, c.user_id, c.role, c.emoji, c.name, c.action, v.kind,
  ${changedSubject} as subject, ${messageJson} as message`

export interface RangeRequest {
  readonly conversation: Id
  /** First seq to read. */
  readonly from: number
  /** Last seq to read. */
  readonly to: number
}

/**
 * Returns the changes from `from` to `to` in seq order, at most `limit`. Does not check membership;
 * readGap and readSegment help their callers do so.
 */
export async function readRange(
  database: Database,
  { conversation, from, to }: RangeRequest,
  limit: number,
): Promise<LoggedChange[]> {
  const rows = await database.query<ChangeRow>({
    name: 'read_range',
    text: `select ${columns} from changes c join conversations v on v.id = c.conversation
            where c.conversation = $1 and c.seq between $2 and $3 order by c.seq limit $4`,
    values: [conversation, from, to, limit],
  })
  return rows.map(toLoggedChange)
}

export interface GapPage extends LogSegment {
  /**
   * Last removal of each user who left at seq `from` or later and is not a member at `asOf`. These
   * users must not receive this page.
   */
  readonly removals: readonly LoggedChange[]
}

/** Maximum removals that one statement reads. If there are more, another statement follows. */
export const removalsMax = 1_000

/**
 * Reads a range of changes that the server missed: `from` to `to`, at most `limit` changes, and the
 * users who must not receive them. A message is returned in its current state, so its text may be
 * newer than the removal of a user who is still subscribed. So changes and removals are read from
 * one snapshot (rule ACL1).
 */
export async function readGap(
  database: Database,
  { conversation, from, to }: RangeRequest,
  limit: number,
): Promise<GapPage> {
  const first = await readGapPart(database, [conversation, from, to, limit, from])
  const removals = [...first.removals]
  let { removals: latest } = first
  // Further removals are read in later snapshots than the page. That is safe: if a user has
  // rejoined by then, that user may see older changes.
  while (latest.length === removalsMax) {
    const after = (latest.at(-1) as LoggedChange).seq + 1
    ;({ removals: latest } = await readGapPart(database, [conversation, from, to, 0, after]))
    removals.push(...latest)
  }
  return { ...first, removals }
}

async function readGapPart(database: Database, values: readonly unknown[]): Promise<GapPage> {
  const rows = await database.query<
    ({ top: number; removal: boolean } & ChangeRow) | { top: number; removal: null; seq: null }
  >({
    name: 'read_gap',
    text: `select top.top, found.* from (select seq as top from conversations where id = $1) top
           left join lateral (
             (select false as removal, ${columns} from changes c join conversations v on v.id = c.conversation
               where c.conversation = $1 and c.seq between $2 and $3 order by c.seq limit $4)
             union all
             -- Both LIMITs keep this one index look-up per removal, whatever the statistics are.
             (select true, ${columns} from (
                select conversation, left_seq from members
                 where conversation = $1 and left_seq >= $5 order by left_seq limit ${removalsMax}) m
                cross join lateral (
                  select * from changes where conversation = m.conversation and seq = m.left_seq limit 1) c
                join conversations v on v.id = c.conversation)) found on true`,
    values,
  })
  const changes: LoggedChange[] = []
  const removals: LoggedChange[] = []
  for (const row of rows) if (row.seq !== null) (row.removal ? removals : changes).push(toLoggedChange(row))
  // SQL guarantees no order of the rows of a union.
  const bySeq = (one: LoggedChange, other: LoggedChange): number => one.seq - other.seq
  return { changes: changes.sort(bySeq), removals: removals.sort(bySeq), asOf: rows[0]?.top ?? 0 }
}

export interface LogSegment {
  /** Consecutive changes. The first one is the first requested seq. */
  readonly changes: readonly LoggedChange[]
  /**
   * Newest seq of the conversation at the time of the read. Messages include all edits and
   * deletions up to it.
   */
  readonly asOf: number
}

/**
 * Builds SQL for the changes `from` to `to` of conversation $1, cut off after `bytesMax` bytes of
 * text. Returns at least one change if the range has any.
 */
const segmentSql = (from: string, to: string, bytesMax: string): string => `
  select ${columns} from (
    select b.*, sum(octet_length(b.text)) over (order by b.seq) as bytes from changes b
     where b.conversation = $1 and b.seq between ${from} and ${to}) c
    join conversations v on v.id = c.conversation
   where c.bytes is null or c.bytes <= ${bytesMax} or c.seq = ${from}
   order by c.seq`

/**
 * Returns the changes from `from` to `to`, cut off after `bytesMax` bytes of text. Does not check
 * membership: the caller may send them only to users who were read as members at seq `asOf` or
 * later (rule ACL1).
 */
export async function readSegment(
  database: Database,
  { conversation, from, to }: RangeRequest,
  bytesMax: number,
): Promise<LogSegment> {
  const rows = await database.query<({ top: number } & ChangeRow) | { top: number; seq: null }>({
    name: 'read_log_stretch',
    pool: 'browse',
    text: `select top.top, page.* from (select seq as top from conversations where id = $1) top
           left join lateral (${segmentSql('$2', '$3', '$4')}) page on true`,
    values: [conversation, from, to, bytesMax],
  })
  return {
    changes: rows.flatMap((row) => (row.seq === null ? [] : [toLoggedChange(row)])),
    asOf: rows[0]?.top ?? 0,
  }
}

/**
 * Maximum edits and deletions that one statement returns. If a cached segment has more, the server
 * reads the whole segment again.
 */
export const rewritesMax = 1_000
/**
 * Maximum changes that one statement searches for edits and deletions: as many as a segment has,
 * because beyond it reading the whole segment again costs no more.
 */
export const rewritesWalkMax = 2_000

/**
 * Returns the newest seq of the conversation, and the edits and deletions after seq `after`, in seq
 * order. Searches the next {@link rewritesWalkMax} changes and returns at most {@link rewritesMax}.
 */
export async function readRewrites(
  database: Database,
  conversation: Id,
  after: number,
): Promise<{ readonly rewrites: readonly LoggedChange[]; readonly top: number }> {
  const rows = await database.query<({ top: number } & ChangeRow) | { top: number; seq: null }>({
    name: 'read_rewrites',
    text: `select top.top, page.* from (select seq as top from conversations where id = $1) top
           left join lateral (
             select ${columns} from changes c join conversations v on v.id = c.conversation
              where c.conversation = $1 and c.seq > $2 and c.seq <= $2 + ${rewritesWalkMax}
                and c.type in (${rewriteTypes.map((type) => `'${type}'`).join(', ')})
              order by c.seq limit ${rewritesMax}) page on true`,
    values: [conversation, after],
  })
  return {
    rewrites: rows.flatMap((row) => (row.seq === null ? [] : [toLoggedChange(row)])),
    top: rows[0]?.top ?? 0,
  }
}

export interface MissedRequest {
  readonly conversation: Id
  readonly position: number
  readonly top: number
  /** Segments start only after multiples of this number of changes. */
  readonly alignment: number
  readonly changesMax: number
  readonly bytesMax: number
}

/**
 * In one read, returns the last seq that a client with this position has (see readBoundary) and the
 * segment of changes that contains it.
 */
export async function readMissed(
  database: Database,
  { conversation, position, top, alignment, changesMax, bytesMax }: MissedRequest,
): Promise<LogSegment & { readonly boundary: number | undefined }> {
  const lowest = Math.max(0, top - limits.replayMaxChanges)
  const rows = await database.query<
    ({ top: number; boundary: number | null } & ChangeRow) | { top: number; boundary: number | null; seq: null }
  >({
    name: 'read_missed',
    pool: 'browse',
    text: `select top.top, f.boundary, page.* from (select seq as top from conversations where id = $1) top
           cross join (select coalesce(
             (select seq from changes where conversation = $1 and seq between $2 and $3 and xid < ${xidParameter(4)}
               order by seq desc limit 1), case when $2 = 0 then 0 end) as boundary) f
           cross join lateral (select f.boundary - f.boundary % $5::bigint + 1 as first) s
           left join lateral (${segmentSql('s.first', 's.first + $6::bigint - 1', '$7')}) page on true`,
    values: [conversation, lowest, top, String(position), alignment, changesMax, bytesMax],
  })
  return {
    boundary: rows[0]?.boundary ?? undefined,
    changes: rows.flatMap((row) => (row.seq === null ? [] : [toLoggedChange(row)])),
    asOf: rows[0]?.top ?? 0,
  }
}

/** Request for the changes of a conversation that a client with this position misses. */
export interface NewestWanted {
  readonly conversation: Id
  readonly position: number
}

export interface NewestExtent {
  /**
   * Number of changes to read even if this client misses fewer. The same result then also serves
   * clients that miss slightly more.
   */
  readonly atLeast: number
  readonly atMost: number
  /** Maximum bytes of text per conversation. The newest change is returned whatever its size. */
  readonly bytesMax: number
}

/**
 * Returns the newest changes of several conversations in one read, each in seq order. For each
 * conversation it reads back to the last change that a client with the requested position has. So
 * one read serves any number of resuming clients (rule LIM2).
 */
export async function readNewestChanges(
  database: Database,
  wanted: readonly NewestWanted[],
  { atLeast, atMost, bytesMax }: NewestExtent,
): Promise<Map<Id, LoggedChange[]>> {
  const rows = await database.query<ChangeRow>({
    name: 'read_newest_changes',
    pool: 'browse',
    // Each LIMIT makes the planner read along the key, even with wrong table statistics.
    text: `select n.* from unnest($1::uuid[], $2::text[]) with ordinality as w(id, position, i)
             cross join lateral (select seq from conversations where id = w.id limit 1) top
             cross join lateral (
               select least(top.seq - $3::bigint + 1, coalesce(
                 (select b.seq from changes b
                   where b.conversation = w.id and b.seq > top.seq - $4::bigint and b.xid < w.position::xid8
                   order by b.seq desc limit 1), 1)) as seq) first
             cross join lateral (
               select ${columns} from (
                 select b.*, sum(octet_length(b.text)) over (order by b.seq desc) as bytes from (
                   select * from changes where conversation = w.id and seq >= first.seq order by seq desc limit $4) b) c
                 join conversations v on v.id = c.conversation
                where c.bytes is null or c.bytes <= $5::bigint or c.seq = top.seq) n
            order by w.i, n.seq`,
    values: [
      wanted.map(({ conversation }) => conversation),
      wanted.map(({ position }) => String(position)),
      atLeast,
      atMost,
      bytesMax,
    ],
  })
  const newest = new Map<Id, LoggedChange[]>(wanted.map(({ conversation }) => [conversation, []]))
  for (const row of rows) newest.get(row.conversation)?.push(toLoggedChange(row))
  return newest
}

/**
 * Returns the last seq that a client with this position has: every change after it was written at
 * or after `position`. Searches down from `top`. Returns undefined when all of the newest 10 000
 * changes are newer.
 */
export async function readBoundary(
  database: Database,
  conversation: Id,
  position: number,
  top: number,
): Promise<number | undefined> {
  const lowest = Math.max(0, top - limits.replayMaxChanges)
  const rows = await database.query<{ seq: number }>({
    name: 'read_boundary',
    pool: 'browse',
    text: `select seq from changes where conversation = $1 and seq between $2 and $3 and xid < ${xidParameter(4)}
            order by seq desc limit 1`,
    values: [conversation, lowest, top, String(position)],
  })
  return rows[0]?.seq ?? (lowest === 0 ? 0 : undefined)
}

/** Membership of a user in a conversation, as of one snapshot of the database. */
export type Standing =
  | { readonly kind: 'member' }
  | { readonly kind: 'removed'; readonly removal: LoggedChange }
  | { readonly kind: 'stranger' }

/** Returns whether the user is a member, or the change that removed them. */
export async function readStanding(database: Database, user: Id, conversation: Id): Promise<Standing> {
  const rows = await database.query<ChangeRow | { seq: null }>({
    name: 'read_standing',
    text: `select removal.* from (select $1::uuid as conversation, $2::uuid as user_id) w
           cross join lateral (
             select m.conversation, m.left_seq from members m
              where m.conversation = w.conversation and m.user_id = w.user_id limit 1) m
           left join lateral (
             select ${columns} from changes c join conversations v on v.id = c.conversation
              where c.conversation = m.conversation and c.seq = m.left_seq limit 1) removal on true`,
    values: [conversation, user],
  })
  const [row] = rows
  if (row === undefined) return { kind: 'stranger' }
  return row.seq === null ? { kind: 'member' } : { kind: 'removed', removal: toLoggedChange(row) }
}

export interface MemberChangesPage {
  readonly changes: Change[]
  readonly seq: number
  readonly more: boolean
}

/**
 * Returns a page of the log, or undefined for non-members. One statement reads the page and checks
 * membership (rule ACL1).
 */
export async function readChangesForMember(
  database: Database,
  user: Id,
  conversation: Id,
  after: number,
  limit: number,
): Promise<MemberChangesPage | undefined> {
  const rows = await database.query<({ top: number } & ChangeRow) | { top: number; seq: null }>({
    name: 'read_changes_for_member',
    pool: 'browse',
    text: `select me.top, page.* from (
             select v.seq as top, v.id from conversations v join members m on m.conversation = v.id
              where v.id = $1 and m.user_id = $2 and m.left_seq is null) me
           left join lateral (
             select ${columns} from changes c join conversations v on v.id = c.conversation
              where c.conversation = me.id and c.seq > $3 order by c.seq limit $4) page on true`,
    values: [conversation, user, after, limit],
  })
  const [first] = rows
  if (first === undefined) return undefined
  const changes = trimToBytes(rows.flatMap((row) => (row.seq === null ? [] : [toChange(row)])))
  const last = changes.at(-1)?.seq ?? after
  return { changes, seq: first.top, more: last < first.top && changes.length > 0 }
}

/** Cuts a page at 256 kB, but keeps at least one item (rule SLOW1). */
export function trimToBytes<Item>(items: readonly Item[]): Item[] {
  let bytes = 0
  const kept: Item[] = []
  for (const item of items) {
    bytes += Buffer.byteLength(JSON.stringify(item))
    if (kept.length > 0 && bytes > limits.pageMaxBytes) break
    kept.push(item)
  }
  return kept
}
