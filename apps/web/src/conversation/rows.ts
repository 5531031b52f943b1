/**
 * What the message list shows, from what the timeline holds: day dividers, the unread line, and which messages belong together.
 * Pure. The order is the timeline's and never a clock's: times only decide what is drawn between two neighbours.
 */
import type { TimelineItem } from '@chorus/client'
import { dayOf } from '../time/format-time.ts'

/** Messages of one sender this close together are shown as one group. */
export const groupWithinMs = 5 * 60_000

export interface MessageRow {
  readonly key: string
  readonly item: TimelineItem
  readonly sender: string
  readonly isMine: boolean
  readonly createdAt: string
  /** `2026-11-22` in the reader's zone. */
  readonly day: string
  /** The first message of its day in this list. */
  readonly startsDay: boolean
  /** The first message that was unread when the conversation was opened. */
  readonly startsUnread: boolean
  readonly startsGroup: boolean
  readonly endsGroup: boolean
}

export interface RowOptions {
  readonly me: string
  /** Messages of others after this seq come below the unread line; undefined shows no line. */
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

/** Days of a few thousand messages are asked for at every change of a list, and formatting a date is slow. */
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
  // Until its change arrives, an acknowledged message already has the database's time.
  return item.item.status.state === 'acknowledged' ? item.item.status.createdAt : item.item.createdAt
}

/** The seq of a row, or undefined while the server has not stored it. */
export function seqOf(row: MessageRow): number | undefined {
  return row.item.kind === 'message' ? row.item.message.seq : undefined
}

export type Mark = 'sending' | 'sent' | 'read' | 'failed'

/** What stands beside a message of mine; `readUpTo` is the highest seq that anybody else has read. */
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

/** The highest seq that somebody other than me has read. */
export function readByOthers(markers: ReadonlyMap<string, number>, me: string): number {
  let highest = 0
  for (const [user, seq] of markers) if (user !== me && seq > highest) highest = seq
  return highest
}
