/**
 * Builds the rows of the message list: the loaded messages and the user's pending messages. Pending
 * messages appear even while the newest page is not loaded.
 */
import type { TimelineItem, TimelineView } from '@chorus/client'
import { useOutbox } from '@chorus/react'
import { useMemo } from 'react'
import { useMe } from '../people/me.tsx'
import type { RowName } from './message-list-scroller.ts'
import { buildRows, seqOf, type MessageRow } from './rows.ts'

export interface ListRows {
  readonly rows: readonly MessageRow[]
  readonly names: readonly RowName[]
  readonly keys: readonly string[]
  /**
   * Key of the first row below a gap: messages between this row and the row above it are not
   * loaded. Undefined without a gap.
   */
  readonly gapKey: string | undefined
  /** Whether the loaded messages include the first message below the unread line. */
  readonly isLineLoaded: boolean
}

/**
 * Returns the rows of a conversation. `unreadAfter` is the seq of the last read message: the unread
 * line is drawn below it.
 */
export function useListRows(id: string, view: TimelineView, unreadAfter: number | undefined): ListRows {
  const { user: me } = useMe()
  const waiting = useWaiting(id, view)
  const items = useMemo(() => (waiting.length === 0 ? view.items : [...view.items, ...waiting]), [view.items, waiting])
  // Draw the unread line only if the first unread message is loaded. Otherwise the line would
  // appear above the oldest loaded message, which is wrong.
  const isLineLoaded = reachesBackTo(view, unreadAfter)
  const lineAfter = isLineLoaded ? unreadAfter : undefined
  const rows = useMemo(() => buildRows(items, { me: me.id, unreadAfter: lineAfter }), [items, me.id, lineAfter])
  const names = useMemo(() => rows.map((row): RowName => ({ key: row.key, seq: seqOf(row) })), [rows])
  const keys = useMemo(() => rows.map(({ key }) => key), [rows])
  return { rows, names, keys, gapKey: waiting[0]?.key, isLineLoaded }
}

/**
 * Returns the user's pending messages while the newest page is not loaded. The client's timeline
 * leaves them out in this case, but the user must always see them. Otherwise returns none.
 */
function useWaiting(id: string, view: TimelineView): readonly TimelineItem[] {
  const outbox = useOutbox()
  return useMemo(() => {
    if (!view.hasNewer) return []
    const here = new Set(view.items.map(({ key }) => key))
    return outbox
      .filter(({ conversation, clientId }) => conversation === id && !here.has(clientId))
      .map((item): TimelineItem => ({ kind: 'pending', key: item.clientId, item }))
  }, [outbox, id, view])
}

/** Returns whether the message directly after `seq` is loaded. */
function reachesBackTo({ items, hasOlder }: TimelineView, seq: number | undefined): boolean {
  if (seq === undefined || !hasOlder) return true
  const first = items[0]
  return first?.kind !== 'message' || first.message.seq <= seq + 1
}
