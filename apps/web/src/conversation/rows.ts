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
  let hasUnreadLine = false
  for (const item of items) {
    const previous = rows.at(-1)
    const isMine = item.kind === 'pending' || item.isMine
    const sender = item.kind === 'pending' ? options.me : item.message.sender
    const createdAt = createdAtOf(item)
    const day = dayOf(createdAt, options.timeZone === undefined ? {} : { timeZone: options.timeZone })
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

/** Where a list that grew at its front must say that it begins, so that what is on screen stays there. */
export interface ListOrigin {
  readonly firstKey: string | undefined
  readonly firstItemIndex: number
  /** Changes when the list was replaced rather than extended: positions of before mean nothing any more. */
  readonly generation: number
}

/** Far above any number of messages that could be paged in, so that the index never goes below zero. */
export const firstIndexAtStart = 1_000_000_000

export function advanceOrigin(origin: ListOrigin, rows: readonly MessageRow[]): ListOrigin {
  const firstKey = rows[0]?.key
  if (firstKey === origin.firstKey) return origin
  if (origin.firstKey === undefined) return { ...origin, firstKey }
  const added = rows.findIndex((row) => row.key === origin.firstKey)
  if (added === -1) return { firstKey, firstItemIndex: firstIndexAtStart, generation: origin.generation + 1 }
  return { ...origin, firstKey, firstItemIndex: origin.firstItemIndex - added }
}
