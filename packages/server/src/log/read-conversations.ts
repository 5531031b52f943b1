/** Reads conversations and members as one user sees them. */
import {
  type Conversation,
  type ConversationKind,
  type Id,
  limits,
  type Member,
  type ReactionCount,
  type Role,
  type Subject,
  type User,
} from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { type MessageColumns, toMessage } from '../support/message-columns.ts'
import { foldName } from '../support/fold-text.ts'
import { afterPrefix } from '../accounts/fold-names.ts'
import { messagePairs, subjectJson } from './message-sql.ts'
import { reactionsSql } from './read-messages.ts'

interface ConversationRow {
  readonly id: Id
  readonly kind: ConversationKind
  readonly name: string | null
  readonly seq: number
  readonly last_xid: string
  readonly read_seq: number | null
  readonly unread: number
  readonly role: Role | null
  readonly member_count: number
  readonly subject: Subject | null
  readonly members: readonly MemberJson[] | null
  readonly last_message:
    | (MessageColumns & { readonly seq: number; readonly reactions: readonly ReactionCount[] | null })
    | null
}

interface MemberJson {
  readonly user: User
  readonly role: Role
  readonly joinedSeq: number
  readonly readSeq: number
}

/**
 * SQL that counts unread messages, up to 1000: messages by other users after the read marker, not
 * deleted. It scans at most the newest 2 000 messages. Without that limit, a user who writes a
 * million messages and never moves their read marker would cost a million row reads.
 */
export const unreadSql = (conversation: string, readSeq: string, user: string): string => `(
  select count(*)::int from (
    select from (
      select u.actor, u.deleted_at from changes u
       where u.conversation = ${conversation} and u.seq > ${readSeq} and u.type = 'message.created'
       order by u.seq desc limit ${limits.unreadScanMax}) newest
     where newest.actor <> ${user} and newest.deleted_at is null limit ${limits.unreadMax}) counted)`

const memberJson = `json_build_object(
  'user', json_build_object('id', u.id, 'handle', u.handle, 'name', u.name, 'avatar', u.avatar, 'bot', u.bot),
  'role', x.role, 'joinedSeq', x.joined_seq, 'readSeq', x.read_seq)`

const columns = `v.id, v.kind, v.name, v.seq, v.last_xid::text as last_xid, m.read_seq, m.role, v.member_count,
  case when v.subject_type is not null then ${subjectJson} end as subject,
  case when m.user_id is null then 0 else ${unreadSql('v.id', 'm.read_seq', 'm.user_id')} end as unread,
  (select json_agg(shown.j order by shown.joined_seq) from (
     select ${memberJson} as j, x.joined_seq from members x join users u on u.id = x.user_id
      where x.conversation = v.id and x.left_seq is null order by x.joined_seq limit ${limits.membersShown}) shown) as members,
  case when m.user_id is not null then (
    select json_build_object(
      'seq', c.seq, ${messagePairs},
      'reactions', ${reactionsSql('m.user_id')})
      from changes c where c.conversation = v.id and c.seq = v.last_message_seq) end as last_message`

function toConversation(row: ConversationRow): Conversation {
  return {
    id: row.id,
    kind: row.kind,
    name: row.name,
    seq: row.seq,
    readSeq: row.read_seq ?? 0,
    unread: row.unread,
    lastMessage:
      row.last_message === null
        ? null
        : {
            ...toMessage(row.id, row.last_message.seq, row.last_message),
            reactions: [...(row.last_message.reactions ?? [])],
          },
    members: (row.members ?? []).map((member) => ({ ...member })),
    memberCount: row.member_count,
    role: row.role,
    ...(row.subject !== null && { subject: row.subject }),
  }
}

/**
 * Returns one conversation. Returns undefined if it does not exist or the user may not see it. All
 * users may see public channels.
 */
export async function readConversation(
  database: Database,
  user: Id,
  conversation: Id,
): Promise<Conversation | undefined> {
  const rows = await database.query<ConversationRow>({
    name: 'read_conversation',
    pool: 'browse',
    text: `select ${columns} from conversations v
             left join members m on m.conversation = v.id and m.user_id = $2 and m.left_seq is null
            where v.id = $1 and (m.user_id is not null or v.kind = 'channel')`,
    values: [conversation, user],
  })
  return rows[0] === undefined ? undefined : toConversation(rows[0])
}

/**
 * Returns the conversation of a subject, or undefined if there is none. For API keys only: it needs
 * no membership. A user who is not a member gets the description and the members, but no message.
 */
export async function readSubjectConversation(
  database: Database,
  user: Id,
  type: string,
  id: string,
): Promise<Conversation | undefined> {
  const [row] = await database.query<ConversationRow>({
    name: 'read_subject_conversation',
    pool: 'browse',
    text: `select ${columns} from conversations v
             left join members m on m.conversation = v.id and m.user_id = $3 and m.left_seq is null
            where v.subject_type = $1 and v.subject_id = $2`,
    values: [type, id, user],
  })
  return row === undefined ? undefined : toConversation(row)
}

export interface ConversationsPage {
  readonly conversations: Conversation[]
  /** Key of the first row of the next page. Undefined on the last page. */
  readonly next: { readonly xid: string; readonly id: Id } | undefined
}

/** Returns the user's conversations, most recently changed first. */
export async function readConversations(
  database: Database,
  user: Id,
  limit: number,
  from: { readonly xid: string; readonly id: Id } | undefined,
): Promise<ConversationsPage> {
  const rows = await database.query<ConversationRow>({
    name: from === undefined ? 'read_conversations' : 'read_conversations_from',
    pool: 'browse',
    // Select the keys of the page first, by look-ups along the user's memberships, even with wrong
    // table statistics.
    text: `with page as materialized (
             select v.id, v.last_xid from members m
              cross join lateral (select c.id, c.last_xid from conversations c where c.id = m.conversation limit 1) v
              where m.user_id = $1 and m.left_seq is null
                ${from === undefined ? '' : 'and (v.last_xid, v.id) < ($3::text::xid8, $4::uuid)'}
              order by v.last_xid desc, v.id desc limit $2)
           select ${columns} from page
             cross join lateral (select c.* from conversations c where c.id = page.id limit 1) v
             cross join lateral (
               select k.* from members k where k.conversation = page.id and k.user_id = $1 and k.left_seq is null limit 1) m
            order by page.last_xid desc, page.id desc`,
    values: from === undefined ? [user, limit + 1] : [user, limit + 1, from.xid, from.id],
  })
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  return {
    conversations: page.map(toConversation),
    next: rows.length > limit && last !== undefined ? { xid: last.last_xid, id: last.id } : undefined,
  }
}

/**
 * Maximum entries that one search reads from the index of name parts. A name has one entry per
 * character.
 */
const partsMax = 1_000

/**
 * Returns public channels whose name contains the text, ignoring case. Names that begin with it
 * come first. The search reads a limited part of two indexes. So a text that occurs in a million
 * names costs no more than a rare text, and finds only some of these channels.
 */
export async function findChannels(database: Database, user: Id, text: string, limit: number): Promise<Conversation[]> {
  const folded = foldName(text)
  const rows = await database.query<ConversationRow>({
    name: folded === '' ? 'list_channels' : 'find_channels',
    pool: 'search',
    text: `with found as materialized (
             select f.owner, f.folded, f.begins from (
               (select s.owner, s.folded, true as begins from searched_names s
                 where s.is_channel and s.folded >= $2 and s.folded < $4
                 order by s.folded, s.owner limit $3)
               ${
                 folded === ''
                   ? ''
                   : `union
               select s.owner, s.folded, starts_with(s.folded, $2)
                 from (select distinct p.owner from find_name_parts($2, $4, ${partsMax}) p(owner)) p
                cross join lateral (select n.owner, n.folded from searched_names n where n.owner = p.owner limit 1) s`
               }) f
              order by f.begins desc, f.folded, f.owner limit $3)
           select ${columns} from found
             cross join lateral (select c.* from conversations c where c.id = found.owner limit 1) v
             left join lateral (
               select k.* from members k where k.conversation = v.id and k.user_id = $1 and k.left_seq is null limit 1) m on true
            order by found.begins desc, found.folded, found.owner`,
    values: [user, folded, limit, folded + afterPrefix],
  })
  return rows.map(toConversation)
}

/** Returns the oldest public channel with exactly this name, or undefined if there is none. */
export async function findChannelNamed(database: Database, name: string): Promise<Id | undefined> {
  const [row] = await database.query<{ id: Id }>({
    name: 'find_channel_named',
    text: `select c.id from searched_names s
            cross join lateral (select v.id, v.name from conversations v where v.id = s.owner limit 1) c
            where s.is_channel and s.folded = $1 and c.name = $2
            order by c.id limit 1`,
    values: [foldName(name), name],
  })
  return row?.id
}

/**
 * Returns the members who joined after seq `afterJoinedSeq`, in the order of joining. Returns
 * undefined if the user is not a member.
 */
export async function readMembers(
  database: Database,
  user: Id,
  conversation: Id,
  limit: number,
  afterJoinedSeq: number,
): Promise<Member[] | undefined> {
  const rows = await database.query<{ member: MemberJson | null }>({
    name: 'read_members',
    pool: 'browse',
    text: `select list.j as member from members me
             left join lateral (
               select ${memberJson} as j from members x join users u on u.id = x.user_id
                where x.conversation = me.conversation and x.left_seq is null and x.joined_seq > $3
                order by x.joined_seq limit $4) list on true
            where me.conversation = $1 and me.user_id = $2 and me.left_seq is null`,
    values: [conversation, user, afterJoinedSeq, limit],
  })
  if (rows.length === 0) return undefined
  return rows.flatMap(({ member }) => (member === null ? [] : [{ ...member }]))
}
