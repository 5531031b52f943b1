/**
 * Reads which rows of the message list are visible, at most once per animation frame. For these
 * rows, it marks messages as read, shows the day while the user scrolls, keeps the row that the Tab
 * key reaches visible, and loads older and newer pages before the user reaches the edge.
 */
import type { ChatConversation, ConversationSummary, Messages, TimelineView } from '@chorus/client'
import { useCallback, useEffect, useRef, useState, type Dispatch, type SetStateAction } from 'react'
import type { RowName, ShownRows } from './message-list-scroller.ts'
import type { MessageRow } from './rows.ts'
import type { Aim } from './use-aim.ts'
import type { ListRows } from './use-list-rows.ts'
import type { ListPlace } from './use-place.ts'

const nearEdgeRows = 15
const movingMs = 1_000
const pillZonePx = 48
/**
 * The last visible message counts as read if less than this height is hidden below the bottom edge.
 */
const readSlackPx = 24

export interface CatchUp {
  readonly isCurrent: boolean
  readonly isCatchingUp: boolean
}

interface ShownRowsOptions {
  readonly conversation: ChatConversation
  readonly summary: ConversationSummary
  readonly view: TimelineView
  readonly list: ListRows
  readonly place: ListPlace
  readonly aim: Aim
  readonly catchUp: CatchUp
  readonly setReachable: Dispatch<SetStateAction<string | undefined>>
}

interface ShownRowsState {
  /** Time of the first visible message. Undefined while the label with its day is hidden. */
  readonly topDay: string | undefined
  /** Determines in the next animation frame which rows are visible. */
  readonly lookSoon: () => void
  /**
   * Must be called when the user scrolls: shows the day, and lets pages load again after a failure.
   */
  readonly takeScroll: () => void
}

export function useShownRows(options: ShownRowsOptions): ShownRowsState {
  const { conversation, summary, view, list, place, aim, setReachable } = options
  const { isCurrent, isCatchingUp } = options.catchUp
  const { rows, names } = list
  const day = useTopDay(rows)
  const edges = useEdgePages(view, conversation.messages)
  const look = (): void => {
    const shown = place.isListShown ? place.scroller.shown(pillZonePx, readSlackPx) : undefined
    if (shown === undefined) return
    day.show(shown)
    if ((aim.at === 'nothing' || aim.at === 'end') && !isCatchingUp) markRead(conversation, names, shown)
    setReachable((present) => keepTabStop(present, names, shown))
    if (aim.at === 'nothing') edges.load(shown)
  }

  const lookSoon = useFrame(look)
  useEffect(lookSoon, [lookSoon, rows, view, summary.readSeq, aim, isCatchingUp])
  const { unblock } = edges
  useEffect(unblock, [isCurrent, unblock])
  useEffect(() => {
    window.addEventListener('focus', lookSoon)
    document.addEventListener('visibilitychange', lookSoon)
    return () => {
      window.removeEventListener('focus', lookSoon)
      document.removeEventListener('visibilitychange', lookSoon)
    }
  }, [lookSoon])

  const takeScroll = (): void => {
    unblock()
    day.takeScroll()
  }
  return { topDay: day.topDay, lookSoon, takeScroll }
}

/** Marks the visible messages as read, if the page is visible and has the focus. */
function markRead(conversation: ChatConversation, names: readonly RowName[], shown: ShownRows): void {
  if (document.visibilityState !== 'visible' || !document.hasFocus()) return
  const seq = names.slice(0, shown.last + 1).findLast((name) => name.seq !== undefined)?.seq ?? 0
  if (seq > (conversation.summary.get()?.readSeq ?? seq)) conversation.markRead(seq).catch(() => undefined)
}

/**
 * Returns the key of the row that the Tab key reaches: the same row as before while it is visible,
 * otherwise the last visible row.
 */
function keepTabStop(present: string | undefined, names: readonly RowName[], shown: ShownRows): string | undefined {
  const index = names.findIndex(({ key }) => key === present)
  return index >= shown.first && index <= shown.last ? present : names[Math.max(shown.first, shown.last)]?.key
}

/**
 * Shows the day of the first visible message, but only while the user scrolls. Otherwise the label
 * would cover text being read.
 */
function useTopDay(rows: readonly MessageRow[]) {
  const [topDay, setTopDay] = useState<string>()
  const [isMoving, setIsMoving] = useState(false)
  const rest = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => () => clearTimeout(rest.current), [])
  const show = (shown: ShownRows): void => {
    const first = rows[shown.first]
    const isDividerShown = first?.startsDay === true && shown.firstTopPx >= 0
    const isDayShown = isMoving && !isDividerShown && shown.scrolledPx > 4
    setTopDay(isDayShown ? first?.createdAt : undefined)
  }
  const takeScroll = (): void => {
    setIsMoving(true)
    clearTimeout(rest.current)
    rest.current = setTimeout(() => setIsMoving(false), movingMs)
  }
  return { topDay, show, takeScroll }
}

/** Loads an older or newer page when the visible rows are near the first or last loaded message. */
function useEdgePages(view: TimelineView, messages: Messages) {
  const isBlocked = useRef(false)
  const load = (shown: ShownRows): void => {
    if (view.loading !== 'nothing' || isBlocked.current) return
    // After a failure, do not load again until the user scrolls or the connection changes.
    // Otherwise a client without a connection would retry in every animation frame.
    const block = (): void => {
      isBlocked.current = true
    }
    const isNearEnd = shown.last >= view.items.length - nearEdgeRows
    if (view.hasOlder && shown.first < nearEdgeRows) messages.loadOlder().catch(block)
    else if (view.hasNewer && isNearEnd) messages.loadNewer().catch(block)
  }
  const unblock = useCallback(() => {
    isBlocked.current = false
  }, [])
  return { load, unblock }
}

/**
 * Returns a function that runs `callback` in the next animation frame, at most once per frame. It
 * runs the callback of the last render.
 */
function useFrame(callback: () => void): () => void {
  const newest = useRef(callback)
  useEffect(() => {
    newest.current = callback
  })
  const request = useRef<number>(undefined)
  useEffect(
    () => () => {
      if (request.current !== undefined) cancelAnimationFrame(request.current)
      request.current = undefined
    },
    [],
  )
  return useCallback(() => {
    if (request.current !== undefined) return
    request.current = requestAnimationFrame(() => {
      request.current = undefined
      newest.current()
    })
  }, [])
}
