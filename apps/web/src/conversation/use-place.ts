/**
 * The place of the message list: which rows are in the DOM, and the scroll offset. Guarantee: if
 * the user is at the end, the list follows new messages; otherwise the line being read keeps its
 * position, whatever arrives (rule READ1; see `message-list-scroller.ts`). An aim (a target to
 * which the list scrolls by itself, see `use-aim.ts`) moves the place to its row.
 */
import type { TimelineView } from '@chorus/client'
import {
  useCallback,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  type Dispatch,
  type RefCallback,
  type RefObject,
  type SetStateAction,
} from 'react'
import { flushSync } from 'react-dom'
import { keysOf, resolveRange, type RangeKeys, type RowRange } from './message-list-layout.ts'
import { ListScroller, type Place, type Restored, type RowName } from './message-list-scroller.ts'
import { noAim, type Aim, type AimState } from './use-aim.ts'
import type { ListRows } from './use-list-rows.ts'

/** Distance of the unread line from the top of the list after the list has scrolled to it. */
export const unreadLinePx = 72

export interface ListPlace {
  readonly scroller: ListScroller
  /** Element around the scrolling list and the buttons above it. */
  readonly frame: RefObject<HTMLDivElement | null>
  /** Element whose children are the rows of the list. */
  readonly list: RefObject<HTMLDivElement | null>
  /** Range of the rows that are in the DOM. */
  readonly range: RowRange
  readonly setRangeKeys: Dispatch<SetStateAction<RangeKeys | undefined>>
  readonly isListShown: boolean
  readonly isAtEnd: boolean
  /** Whether the list has scrolled to the position at which the conversation opens. */
  readonly hasArrived: boolean
  /**
   * Corrects the list after the user or the browser has scrolled: draws missing rows and updates
   * `isAtEnd`.
   */
  readonly followScroll: () => void
  /** Keeps the reading position after rows or elements around the list have changed their size. */
  readonly followSizes: (entries: readonly ResizeObserverEntry[]) => void
}

interface PlaceOptions {
  readonly list: ListRows
  readonly aims: AimState
  readonly view: TimelineView
  /** Whether this device is connected to the server or is reconnecting to it. */
  readonly isReachable: boolean
  /** Whether this device has caught up with the server, so that it knows every unread message. */
  readonly isDecided: boolean
  /** Called when the list has scrolled to the message that it was asked to show. */
  readonly onMessage: (aim: Extract<Aim, { at: 'message' }>, row: RowName) => void
}

export function usePlace({ list: rows, aims, view, isReachable, isDecided, onMessage }: PlaceOptions): ListPlace {
  const { names, keys } = rows
  const { aim, setAim, index } = aims
  const [scroller] = useState(() => new ListScroller())
  const frame = useRef<HTMLDivElement>(null)
  const list = useRef<HTMLDivElement>(null)
  const [rangeKeys, setRangeKeys] = useState<RangeKeys>()
  const [isAtEnd, setIsAtEnd] = useState(true)
  const range = useMemo(() => resolveRange(rangeKeys, keys, index === -1 ? undefined : index), [rangeKeys, keys, index])
  // If a conversation opens at an old message, show no rows until that message is loaded. If the
  // server is unreachable, show the loaded rows.
  const [hasArrived, setHasArrived] = useState(false)
  const isOnTheWay = !hasArrived && aims.needsPage
  const isListShown = view.isLoaded && keys.length > 0 && !(isOnTheWay && isReachable)

  const draw = (restored: Restored): void => {
    if (restored.state === 'draw') setRangeKeys(keysOf(restored.range, keys))
  }

  useLayoutEffect(() => {
    const element = frame.current?.querySelector<HTMLElement>('.message-scroller')
    if (!isListShown || element === null || element === undefined || list.current === null) return
    return scroller.attach(element, list.current)
  }, [scroller, isListShown])

  // After every render and before the paint: set the place to the target of an aim, then scroll so
  // that the list shows the place.
  useLayoutEffect(() => {
    if (!isListShown) return
    scroller.setRows(names, keys, range, view.hasNewer)
    const row = names[index]
    if (aim.at === 'end') scroller.wantEnd()
    else if (row !== undefined) scroller.wantRow(row, offsetOf(aim, scroller, index))
    let restored = scroller.restore()
    if (restored.state === 'lost') {
      const lostAim = replaceLostRow(restored.place, scroller, frame.current, names, view)
      if (lostAim !== undefined && aim.at === 'nothing') setAim(lostAim)
      restored = scroller.restore()
    }
    draw(restored)
    setIsAtEnd(scroller.isAtEnd)
    if (restored.state !== 'right') return
    if (rangeKeys === undefined) setRangeKeys(keysOf(range, keys))
    setHasArrived(true)
    if (!hasReached(aim, row, view, isDecided)) return
    setAim(noAim)
    if (aim.at === 'message' && row !== undefined) onMessage(aim, row)
  })

  const followScroll = (): void => {
    const restored = scroller.restore()
    setIsAtEnd(scroller.isAtEnd)
    if (restored.state === 'draw' && restored.isUrgent) flushSync(() => draw(restored))
    else draw(restored)
  }
  const followSizes = (entries: readonly ResizeObserverEntry[]): void => {
    for (const { target, borderBoxSize } of entries) scroller.takeSize(target, borderBoxSize[0]?.blockSize ?? 0)
    draw(scroller.restore())
    setIsAtEnd(scroller.isAtEnd)
  }
  return { scroller, frame, list, range, setRangeKeys, isListShown, isAtEnd, hasArrived, followScroll, followSizes }
}

/**
 * Returns whether the list has reached the target of an aim. Called when the list shows its stored
 * place.
 */
function hasReached(aim: Aim, row: RowName | undefined, view: TimelineView, isDecided: boolean): boolean {
  switch (aim.at) {
    case 'nothing':
      return false
    case 'end':
      return !view.hasNewer
    case 'unread':
      return row !== undefined && isDecided
    case 'message':
      return row !== undefined
  }
}

/** Returns the distance from the top of the list at which the target of an aim must appear. */
function offsetOf(aim: Aim, scroller: ListScroller, index: number): number {
  if (aim.at !== 'message') return unreadLinePx
  if (aim.offsetPx !== undefined) return aim.offsetPx
  const heightPx = scroller.childAt(index)?.getBoundingClientRect().height ?? 0
  return Math.max(unreadLinePx, (scroller.viewportPx - heightPx) / 2)
}

/**
 * Replaces the row being read after it was removed from the list. If the messages around it are not
 * loaded, sets the place to the end and returns an aim that leads back to the removed row.
 */
function replaceLostRow(
  { row, topPx }: Place,
  scroller: ListScroller,
  frame: HTMLElement | null,
  names: readonly RowName[],
  view: TimelineView,
): Aim | undefined {
  const near = nearestRow(row?.seq, names, view)
  const offsetPx = topPx - (frame?.getBoundingClientRect().top ?? 0)
  if (near === 'not-loaded' || near === undefined) scroller.wantEnd()
  else scroller.wantRow(near, offsetPx)
  if (near !== 'not-loaded' || row?.seq === undefined) return undefined
  return { at: 'message', seq: row.seq, offsetPx, isAsked: false }
}

/**
 * Returns the row to read instead of a removed one: the next row by seq, or the last row. Returns
 * `not-loaded` if the messages around the removed row are not loaded.
 */
function nearestRow(
  seq: number | undefined,
  names: readonly RowName[],
  view: TimelineView,
): RowName | 'not-loaded' | undefined {
  if (seq === undefined) return undefined
  const first = names.find((name) => name.seq !== undefined)?.seq
  const next = names.find((name) => name.seq !== undefined && name.seq >= seq)
  if (first !== undefined && first > seq && view.hasOlder) return 'not-loaded'
  if (next === undefined && view.hasNewer) return 'not-loaded'
  return next ?? names.at(-1)
}

/**
 * Returns a ref callback. The size of every element with this ref is observed, and `follow` is
 * called after each change. Drawn rows change their size (a reaction, a font, Markdown that was
 * loaded), and so do the elements around the list.
 */
export function useSizes(follow: (entries: readonly ResizeObserverEntry[]) => void): RefCallback<HTMLElement> {
  const newest = useRef(follow)
  useLayoutEffect(() => {
    newest.current = follow
  })
  const [sizes] = useState(() => new ResizeObserver((entries) => newest.current(entries)))
  return useCallback(
    (element: HTMLElement | null) => {
      if (element === null) return
      sizes.observe(element)
      return () => sizes.unobserve(element)
    },
    [sizes],
  )
}
