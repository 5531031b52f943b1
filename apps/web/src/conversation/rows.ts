/**
 * Turns the items of a conversation's timeline into rows of the message list, with day dividers,
 * the unread line, and groups of messages. Pure. The rows have the order of the timeline. The times
 * of messages only decide whether a divider or a group begins between two neighbours.
 */
import type { TimelineItem } from '@chorus/client'
import { dayOf } from '../time/format-time.ts'

/** Maximum time between two messages of one sender that are shown as one group. */
export const groupWithinMs = 5 * 60_000

export interface MessageRow {
  readonly key: string
  readonly item: TimelineItem
  readonly sender: string
  readonly isMine: boolean
  readonly createdAt: string
  /** Date of the message in the reader's time zone, such as `2026-11-22`. */
  readonly day: string
  /** Whether this is the first message of its day in this list. */
  readonly startsDay: boolean
  /** Whether this is the first message that was unread when the conversation was opened. */
  readonly startsUnread: boolean
  readonly startsGroup: boolean
  readonly endsGroup: boolean
}

export interface RowOptions {
  readonly me: string
  /**
   * Seq of the last read message. The unread line is drawn above the first later message of another
   * member. Undefined: no line is drawn.
   */
  readonly unreadAfter?: number | undefined
  readonly timeZone?: string
}

export function buildRows(items: readonly TimelineItem[], options: RowOptions): readonly MessageRow[] {
  const rows: MessageRow[] = []
  const days = daysIn(options.timeZone)
  let hasUnreadLine = false
  for (const item of items) {
    const previous = rows.at(-1)
    const isMine = item.kind === 'pending' || item.isMine
    const sender = item.kind === 'pending' ? options.me : item.message.sender
    const createdAt = createdAtOf(item)
    const day = days(createdAt)
    const startsDay = previous === undefined || previous.day !== day
    const startsUnread: boolean =
      !hasUnreadLine &&
      options.unreadAfter !== undefined &&
      item.kind === 'message' &&
      !isMine &&
      item.message.deletedAt === null &&
      item.message.seq > options.unreadAfter
    hasUnreadLine ||= startsUnread
    const startsGroup =
      previous === undefined ||
      startsDay ||
      startsUnread ||
      previous.sender !== sender ||
      Math.abs(Date.parse(createdAt) - Date.parse(previous.createdAt)) > groupWithinMs
    if (previous !== undefined && !startsGroup) rows[rows.length - 1] = { ...previous, endsGroup: false }
    rows.push({
      key: item.key,
      item,
      sender,
      isMine,
      createdAt,
      day,
      startsDay,
      startsUnread,
      startsGroup,
      endsGroup: true,
    })
  }
  return rows
}

/**
 * Maximum number of cached dates. After each change, the list needs the dates of a few thousand
 * messages, and formatting a date is slow.
 */
const daysMax = 10_000
const dayCaches = new Map<string | undefined, Map<string, string>>()

function daysIn(timeZone: string | undefined): (time: string) => string {
  const cache = dayCaches.get(timeZone) ?? new Map<string, string>()
  dayCaches.set(timeZone, cache)
  return (time) => {
    const known = cache.get(time)
    if (known !== undefined) return known
    const day = dayOf(time, timeZone === undefined ? {} : { timeZone })
    if (cache.size >= daysMax) cache.clear()
    cache.set(time, day)
    return day
  }
}

function createdAtOf(item: TimelineItem): string {
  if (item.kind === 'message') return item.message.createdAt
  // Use the database's time as soon as the message is acknowledged, even before its change arrives.
  return item.item.status.state === 'acknowledged' ? item.item.status.createdAt : item.item.createdAt
}

/** Returns the seq of a row, or undefined while the server has not stored the message. */
export function seqOf(row: MessageRow): number | undefined {
  return row.item.kind === 'message' ? row.item.message.seq : undefined
}

export type Mark = 'sending' | 'sent' | 'read' | 'failed'

/**
 * Returns the delivery mark of the user's own message: sending, sent, read or failed. `readUpTo` is
 * the highest seq that another member has read.
 */
export function markOf(item: TimelineItem, readUpTo: number): Mark {
  if (item.kind === 'message') return item.message.seq <= readUpTo ? 'read' : 'sent'
  switch (item.item.status.state) {
    case 'pending':
      return 'sending'
    case 'acknowledged':
      return 'sent'
    case 'failed':
      return 'failed'
  }
}

/** Returns the highest seq that any member other than `me` has read; 0 without such a member. */
export function readByOthers(markers: ReadonlyMap<string, number>, me: string): number {
  let highest = 0
  for (const [user, seq] of markers) if (user !== me && seq > highest) highest = seq
  return highest
}
