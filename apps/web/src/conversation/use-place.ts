/**
 * Place of the message list: the rows in the DOM, and the scroll offset.
 * Guarantee: the list follows the end, or the line being read keeps its position, whatever arrives
 * (rule READ1; see `message-list-scroller.ts`). An aim moves the place to its row.
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

/** Offset of the unread line from the top of the list when an aim has reached it. */
export const unreadLinePx = 72

export interface ListPlace {
  readonly scroller: ListScroller
  /** The element of the whole list, with its buttons. */
  readonly frame: RefObject<HTMLDivElement | null>
  /** The element whose children are the rows. */
  readonly list: RefObject<HTMLDivElement | null>
  /** Rows in the DOM. */
  readonly range: RowRange
  readonly setRangeKeys: Dispatch<SetStateAction<RangeKeys | undefined>>
  readonly isListShown: boolean
  readonly isAtEnd: boolean
  /** Whether the list has reached its first place. */
  readonly hasArrived: boolean
  /** Restores the place after the user or the browser has scrolled. */
  readonly followScroll: () => void
  /** Restores the place after rows or elements around the list have changed their size. */
  readonly followSizes: (entries: readonly ResizeObserverEntry[]) => void
}

interface PlaceOptions {
  readonly list: ListRows
  readonly aims: AimState
  readonly view: TimelineView
  /** Whether the server can be reached, or will be soon. */
  readonly isReachable: boolean
  /** Whether the set of unread messages is certain. */
  readonly isDecided: boolean
  /** Called when the message of an aim is at its place. */
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
  // A conversation that opens at an old message shows no rows until that message is loaded, unless
  // the server is unreachable.
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

  // After every render, before the paint: follow the aim, then restore the place.
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

/** Returns whether the list, which is at its place, has reached the target of an aim. */
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

/** Returns the offset at which an aim wants its row, from the top of the list. */
function offsetOf(aim: Aim, scroller: ListScroller, index: number): number {
  if (aim.at !== 'message') return unreadLinePx
  if (aim.offsetPx !== undefined) return aim.offsetPx
  const heightPx = scroller.childAt(index)?.getBoundingClientRect().height ?? 0
  return Math.max(unreadLinePx, (scroller.viewportPx - heightPx) / 2)
}

/**
 * Moves the place to the replacement for a removed row. If its surroundings are not loaded, moves
 * the place to the end and returns an aim that leads back.
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
 * Returns the replacement for a removed row: the next row by seq, if its surroundings are loaded.
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
 * Returns a ref for elements whose size the callback follows. Rows change their size after they
 * were drawn (a reaction, a font, Markdown that was loaded). So do the elements around the list.
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
