/**
 * Reads the newest page of conversations for many users in one statement and one snapshot (rules
 * ACL1, LIM2).
 *
 * The statement checks each user's membership and reads the page of each conversation once, for all
 * users. For each reaction, this shared page lists the users who chose it. The server computes the
 * field `mine` for each reader from that list and never sends the list.
 */
import { messagePairs } from './message-sql.ts'
import { type Id, limits, type Message, type MessagePage, type PageMessage } from '@chorus/protocol'
import { type MessageColumns, toMessage } from '../support/message-columns.ts'
import type { Database } from '../database/database.ts'

export const sharedPageLimits = {
  messagesMax: limits.pageDefault,
  /** Maximum size of a shared page. A larger page is read separately for each user. */
  bytesMax: 4 * limits.pageMaxBytes,
  /**
   * Maximum users per emoji on one message, and maximum reactions on a page. A page with more is
   * read separately for each user.
   */
  reactorsMax: 1_000,
  reactionsMax: 5_000,
} as const

export interface MemberPair {
  readonly user: Id
  readonly conversation: Id
}

/** Message in a cached page, with each emoji and the users who chose it. */
export interface SharedMessage {
  readonly message: Message
  readonly reactions: readonly (readonly [emoji: string, users: readonly Id[]])[]
}

/**
 * Page of messages as of `seq`. Every change raises seq, so within one epoch two pages with equal
 * seqs are equal.
 */
export interface SharedPage {
  readonly seq: number
  readonly messages: readonly SharedMessage[]
  readonly hasBefore: boolean
}

export interface NewestPagesRead {
  /**
   * Newest seq of the conversation for each pair of user and conversation, in the order of the
   * pairs. Null where the user is not a member.
   */
  readonly seqs: readonly (number | null)[]
  /**
   * Pages by conversation, for each conversation that a member requested and whose current page is
   * not `known`. Undefined where a page is too large to share.
   */
  readonly pages: ReadonlyMap<Id, SharedPage | undefined>
}

interface Row {
  readonly i: number | null
  readonly id: Id
  readonly top: number
  readonly messages: readonly (MessageColumns & {
    readonly seq: number
    readonly reactions: readonly { readonly emoji: string; readonly users: readonly Id[] | null }[] | null
  })[]
}

export async function readNewestPages(
  database: Database,
  pairs: readonly MemberPair[],
  known: ReadonlyMap<Id, number> = new Map(),
): Promise<NewestPagesRead> {
  const rows = await database.query<Row>({
    name: 'read_newest_pages',
    pool: 'browse',
    // Each LIMIT makes the planner use a look-up by key, even with wrong table statistics.
    text: `with allowed as materialized (
             select w.i::int as i, v.id, v.seq
               from unnest($1::uuid[], $2::uuid[]) with ordinality w(user_id, conversation, i)
               cross join lateral (select from members m
                 where m.conversation = w.conversation and m.user_id = w.user_id and m.left_seq is null limit 1) me
               cross join lateral (select c.id, c.seq from conversations c where c.id = w.conversation limit 1) v)
           select a.i, a.id, a.seq as top, null::json as messages from allowed a
           union all
           select null, d.id, d.seq, (
             select coalesce(json_agg(json_build_object(
                 'seq', c.seq, ${messagePairs},
                 'reactions', (
                   select json_agg(json_build_object(
                            'emoji', r.emoji,
                            'users', case when c.page_reactions <= ${sharedPageLimits.reactionsMax} and r.n <= ${sharedPageLimits.reactorsMax} then (
                              select array_agg(x.user_id) from reactions x
                               where x.conversation = r.conversation and x.target = r.target and x.emoji = r.emoji and not x.removed)
                            end) order by r.first_seq)
                     from reaction_counts r where r.conversation = c.conversation and r.target = c.seq)) order by c.seq), '[]')
               from (
                 -- Count before listing users: a page with too many reactions is not shared.
                 select p.*, sum(p.reactions) over () as page_reactions from (
                   select h.*, (select coalesce(sum(r.n), 0) from reaction_counts r
                                 where r.conversation = h.conversation and r.target = h.seq) as reactions
                     from changes h where h.conversation = d.id and h.type = 'message.created'
                    order by h.seq desc limit ${sharedPageLimits.messagesMax + 1}) p) c)
             from (select distinct id, seq from allowed) d
            where not exists (select from unnest($3::uuid[], $4::bigint[]) k(id, seq) where k.id = d.id and k.seq = d.seq)`,
    values: [
      pairs.map(({ user }) => user),
      pairs.map(({ conversation }) => conversation),
      [...known.keys()],
      [...known.values()],
    ],
  })
  const seqs: (number | null)[] = pairs.map(() => null)
  const pages = new Map<Id, SharedPage | undefined>()
  for (const row of rows) {
    if (row.i !== null) seqs[row.i - 1] = row.top
    else pages.set(row.id, toSharedPage(row))
  }
  return { seqs, pages }
}

function toSharedPage({ id, top, messages }: Row): SharedPage | undefined {
  let reactions = 0
  let bytes = 0
  const shared: SharedMessage[] = []
  for (const row of messages.slice(-sharedPageLimits.messagesMax)) {
    const kinds: (readonly [string, readonly Id[]])[] = []
    for (const { emoji, users } of row.reactions ?? []) {
      if (users === null) return undefined
      kinds.push([emoji, users])
      reactions += users.length
    }
    const message = toMessage(id, row.seq, row)
    // Upper bound of the message's size in bytes for any reader.
    bytes += Buffer.byteLength(JSON.stringify(message)) + 200 * kinds.length + 100
    shared.push({ message, reactions: kinds })
  }
  if (reactions > sharedPageLimits.reactionsMax || bytes > sharedPageLimits.bytesMax) return undefined
  return { seq: top, messages: shared, hasBefore: messages.length > sharedPageLimits.messagesMax }
}

/** Returns the newest `limit` messages of a shared page as this user sees them. */
export function showPage(page: SharedPage, user: Id, limit: number = sharedPageLimits.messagesMax): MessagePage {
  const shown = page.messages.slice(-limit)
  return {
    messages: shown.map((shared) => showMessage(shared, user)),
    seq: page.seq,
    hasBefore: page.hasBefore || shown.length < page.messages.length,
    hasAfter: false,
  }
}

function showMessage({ message, reactions }: SharedMessage, user: Id): PageMessage {
  return {
    ...message,
    reactions: reactions.map(([emoji, users]) => ({ emoji, count: users.length, mine: users.includes(user) })),
  }
}
