/**
 * Reads pages of message history, for members only. The statement that reads the rows also checks
 * membership (rule ACL1).
 */
import { type Id, limits, type MessagePage, type PageMessage, type ReactionCount } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { type MessageColumns, toMessage } from '../support/message-columns.ts'
import { messageSelection } from './message-sql.ts'

interface MessageRow extends MessageColumns {
  readonly conversation: Id
  readonly seq: number
  readonly reactions: readonly ReactionCount[] | null
}

/**
 * Builds SQL for the reactions of the message in row `c`, as the user sees them. It reads one row
 * per emoji and looks up the user's own reaction, so the cost does not depend on the number of
 * users who reacted.
 */
export const reactionsSql = (user: string): string => `(
  select json_agg(json_build_object('emoji', r.emoji, 'count', r.n, 'mine', exists (
           select from reactions x
            where x.conversation = r.conversation and x.target = r.target and x.user_id = ${user} and x.emoji = r.emoji
              and not x.removed)) order by r.first_seq)
    from reaction_counts r where r.conversation = c.conversation and r.target = c.seq)`

/**
 * Builds the SQL columns of the message in row `c`, with its reactions as the user in parameter
 * `user` sees them.
 */
export const pageMessageColumns = (user: string): string => `
  c.conversation, c.seq, ${messageSelection},
  ${reactionsSql(user)} as reactions`

export function toPageMessage(row: MessageRow): PageMessage {
  return { ...toMessage(row.conversation, row.seq, row), reactions: [...(row.reactions ?? [])] }
}

export type PageAnchor =
  | { readonly kind: 'newest' }
  | { readonly kind: 'before'; readonly seq: number }
  | { readonly kind: 'after'; readonly seq: number }
  | { readonly kind: 'around'; readonly seq: number }

function pageSql(anchor: PageAnchor['kind']): string {
  const select = `select ${pageMessageColumns('$2')} from changes c where c.conversation = me.id and c.type = 'message.created'`
  switch (anchor) {
    case 'newest':
      return `${select} and c.seq > $3 order by c.seq desc limit $4`
    case 'before':
      return `${select} and c.seq < $3 order by c.seq desc limit $4`
    case 'after':
      return `${select} and c.seq > $3 order by c.seq limit $4`
    case 'around':
      return `(${select} and c.seq <= $3 order by c.seq desc limit $4 / 2 + 1)
              union all (${select} and c.seq > $3 order by c.seq limit ($4 - 1) / 2)`
  }
}

/** Returns a page of messages in seq order. Returns undefined for non-members. */
export async function readMessagePage(
  database: Database,
  user: Id,
  conversation: Id,
  anchor: PageAnchor,
  limit: number,
): Promise<MessagePage | undefined> {
  const rows = await database.query<({ top: number } & MessageRow) | { top: number; seq: null }>({
    name: `read_message_page_${anchor.kind}`,
    pool: 'browse',
    // Reads one extra row, which shows whether more messages follow in the direction of reading.
    text: `select me.top, page.* from (
             select v.seq as top, v.id from conversations v join members m on m.conversation = v.id
              where v.id = $1 and m.user_id = $2 and m.left_seq is null) me
           left join lateral (${pageSql(anchor.kind)}) page on true`,
    values: [
      conversation,
      user,
      anchor.kind === 'newest' ? 0 : anchor.seq,
      anchor.kind === 'around' ? limit : limit + 1,
    ],
  })
  const [first] = rows
  if (first === undefined) return undefined
  const found = rows.flatMap((row) => (row.seq === null ? [] : [toPageMessage(row)])).sort((a, b) => a.seq - b.seq)
  const { messages, hasBefore, hasAfter } = await cutPage(database, conversation, anchor, found, limit)
  return { messages, seq: first.top, hasBefore, hasAfter }
}

async function cutPage(
  database: Database,
  conversation: Id,
  anchor: PageAnchor,
  found: readonly PageMessage[],
  limit: number,
) {
  const isOver = found.length > limit
  switch (anchor.kind) {
    case 'newest':
    case 'before': {
      const messages = trimFromNewest(isOver ? found.slice(found.length - limit) : found)
      const hasAfter = anchor.kind === 'before' && (await hasMessageFrom(database, conversation, anchor.seq))
      return { messages, hasBefore: isOver || messages.length < found.length, hasAfter }
    }
    case 'after': {
      const messages = trimFromOldest(isOver ? found.slice(0, limit) : found)
      const hasBefore = anchor.seq > 0 && (await hasMessageUpTo(database, conversation, anchor.seq))
      return { messages, hasBefore, hasAfter: isOver || messages.length < found.length }
    }
    case 'around': {
      // If the page is too large, keep the messages nearest to the anchor.
      const upTo = trimFromNewest(
        found.filter(({ seq }) => seq <= anchor.seq),
        historyPageMaxBytes / 2,
      )
      const after = trimFromOldest(
        found.filter(({ seq }) => seq > anchor.seq),
        historyPageMaxBytes / 2,
      )
      const messages = [...upTo, ...after]
      // Queries both sides, because more messages may exist where the page contains none: with
      // limit 1, the page never contains a message after the anchor.
      const oldest = messages.at(0)?.seq ?? anchor.seq + 1
      const newest = messages.at(-1)?.seq ?? anchor.seq
      return {
        messages,
        hasBefore: await hasMessageUpTo(database, conversation, oldest - 1),
        hasAfter: await hasMessageFrom(database, conversation, newest + 1),
      }
    }
  }
}

async function hasMessageFrom(database: Database, conversation: Id, seq: number): Promise<boolean> {
  const rows = await database.query({
    name: 'has_message_from',
    pool: 'browse',
    text: `select from changes where conversation = $1 and seq >= $2 and type = 'message.created' order by seq limit 1`,
    values: [conversation, seq],
  })
  return rows.length > 0
}

async function hasMessageUpTo(database: Database, conversation: Id, seq: number): Promise<boolean> {
  const rows = await database.query({
    name: 'has_message_up_to',
    pool: 'browse',
    text: `select from changes where conversation = $1 and seq <= $2 and type = 'message.created' order by seq desc limit 1`,
    values: [conversation, seq],
  })
  return rows.length > 0
}

const bytesOf = (message: PageMessage): number => Buffer.byteLength(JSON.stringify(message))

/** Maximum size of a history page: 1 MB. */
const historyPageMaxBytes = 4 * limits.pageMaxBytes

function trimFromNewest(messages: readonly PageMessage[], maxBytes: number = historyPageMaxBytes): PageMessage[] {
  let bytes = 0
  let from = messages.length
  while (from > 0) {
    bytes += bytesOf(messages[from - 1] as PageMessage)
    if (bytes > maxBytes && from < messages.length) break
    from--
  }
  return messages.slice(from)
}

function trimFromOldest(messages: readonly PageMessage[], maxBytes: number = historyPageMaxBytes): PageMessage[] {
  let bytes = 0
  let to = 0
  while (to < messages.length) {
    bytes += bytesOf(messages[to] as PageMessage)
    if (bytes > maxBytes && to > 0) break
    to++
  }
  return messages.slice(0, to)
}

/**
 * Returns the newest page for a `conversation` event or a sync entry: at most 50 messages and 256
 * kB (rule SLOW1).
 */
export async function readNewestPage(database: Database, user: Id, conversation: Id): Promise<MessagePage | undefined> {
  const page = await readMessagePage(database, user, conversation, { kind: 'newest' }, limits.pageDefault)
  return page === undefined ? undefined : trimNewestPage(page)
}

export function trimNewestPage(page: MessagePage): MessagePage {
  const messages = trimFromNewest(page.messages, limits.pageMaxBytes)
  return { ...page, messages, hasBefore: page.hasBefore || messages.length < page.messages.length }
}

/** Returns one message. Returns undefined if it does not exist or the user is not a member. */
export async function readMessage(
  database: Database,
  user: Id,
  conversation: Id,
  seq: number,
): Promise<PageMessage | undefined> {
  const rows = await database.query<MessageRow>({
    name: 'read_message',
    pool: 'browse',
    text: `select ${pageMessageColumns('$2')} from changes c join members m on m.conversation = c.conversation
            where c.conversation = $1 and m.user_id = $2 and m.left_seq is null and c.seq = $3 and c.type = 'message.created'`,
    values: [conversation, user, seq],
  })
  return rows[0] === undefined ? undefined : toPageMessage(rows[0])
}
