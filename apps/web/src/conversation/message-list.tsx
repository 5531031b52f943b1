/**
 * Virtual list of the messages of one conversation: only rows near the screen are in the DOM.
 * Guarantee: the list follows the end, or the line being read keeps its position, whatever arrives
 * (rule READ1; see `message-list-scroller.ts`). Older and newer pages load before the user reaches
 * the edge. An `Aim` is a target to which the list scrolls by itself: the unread line, a message,
 * or the end.
 */
import type { ConversationSummary, TimelineItem, TimelineView } from '@chorus/client'
import { useChat, useConnection, useConversationUnread, useDataState, useOutbox, useReadMarkers } from '@chorus/react'
import { ArrowDown, Undo2 } from 'lucide-react'
import {
  useCallback,
  useEffect,
  useImperativeHandle,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  type KeyboardEvent,
  type Ref,
} from 'react'
import { flushSync } from 'react-dom'
import { attempt } from '../notices/explain-error.ts'
import { useMe } from '../people/me.tsx'
import { formatCount } from '../summary/title.ts'
import { formatDay } from '../time/format-time.ts'
import { useNow } from '../time/use-now.ts'
import { latinKey } from '../ui/keys.ts'
import { useMessageActions } from './message-actions.ts'
import { aroundIndex, keysOf, resolveRange, type RangeKeys } from './message-list-layout.ts'
import { ListScroller, type Restored, type RowName } from './message-list-scroller.ts'
import { ConversationStart, MessagesSkeleton } from './message-list-states.tsx'
import { MessageRowView } from './message-row.tsx'
import { buildRows, readByOthers, seqOf, type MessageRow } from './rows.ts'
import './message-list.css'

export interface MessageListHandle {
  /** Loads a message if needed, shows it in the middle, and highlights it. */
  readonly jumpTo: (seq: number) => void
  readonly toEnd: () => void
  /** Moves the focus to the newest message. */
  readonly focusLast: () => void
}

interface MessageListProps {
  readonly summary: ConversationSummary
  readonly view: TimelineView
  /** Seq of the message that the page address names. */
  readonly initialSeq: number | undefined
  readonly ref: Ref<MessageListHandle>
}

/**
 * Target to which the list scrolls by itself, once the required rows are loaded. Scrolling cancels
 * an aim that the user did not ask for.
 */
type Aim =
  | { readonly at: 'nothing' }
  | { readonly at: 'end' }
  /** First unread message. Known as soon as this device has caught up. */
  | { readonly at: 'unread' }
  | {
      readonly at: 'message'
      readonly seq: number
      /** Offset of the message from the top of the list. By default, the message is centred. */
      readonly offsetPx?: number
      /**
       * Whether the user asked for this message. If so, a failure is shown, and the message is
       * highlighted on arrival.
       */
      readonly isAsked: boolean
    }

const nothing: Aim = { at: 'nothing' }

/** Position to return to after the user's own message scrolled the list to the end. */
interface WayBack {
  readonly seq: number
  readonly offsetPx: number
}

/** Elements inside a message that the arrow keys reach, in this order. */
const stops = '.quote, .message-toolbar button, .reaction, .message-failed button'
const nearEdgeRows = 15
const highlightMs = 1_900
const wayBackMs = 30_000
const movingMs = 1_000
const pillZonePx = 48
const unreadLinePx = 72
/** A last line counts as read if less than this is cut off. */
const readSlackPx = 24
const loadsMax = 3

export function MessageList({ summary, view, initialSeq, ref }: MessageListProps) {
  const chat = useChat()
  const { user: me } = useMe()
  const actions = useMessageActions()
  const now = useNow()
  const { id } = summary
  const conversation = chat.conversation(id)
  const { messages } = conversation
  const readUpTo = readByOthers(useReadMarkers(id), me.id)
  const unread = useConversationUnread(id)
  const connection = useConnection().state
  const isCurrent = useDataState() === 'live' && (connection === 'ready' || connection === 'moving')
  const isCatchingUp = !isCurrent && connection !== 'offline' && connection !== 'waiting' && connection !== 'closed'

  const waiting = useWaiting(id, view)
  const newestWaiting = useNewestWaiting(id)
  const items = useMemo(() => (waiting.length === 0 ? view.items : [...view.items, ...waiting]), [view.items, waiting])
  const [unreadAfter, setUnreadAfter] = useState(summary.unread > 0 ? summary.readSeq : undefined)
  // Draw the line before the first unread message, never before an older page boundary.
  const isLineLoaded = reachesBackTo(view, unreadAfter)
  const lineAfter = isLineLoaded ? unreadAfter : undefined
  const rows = useMemo(() => buildRows(items, { me: me.id, unreadAfter: lineAfter }), [items, me.id, lineAfter])
  const names = useMemo(() => rows.map((row): RowName => ({ key: row.key, seq: seqOf(row) })), [rows])
  const keys = useMemo(() => rows.map(({ key }) => key), [rows])
  const gapKey = waiting[0]?.key

  const [scroller] = useState(() => new ListScroller())
  const frame = useRef<HTMLDivElement>(null)
  const list = useRef<HTMLDivElement>(null)
  const [aim, setAim] = useState<Aim>(
    initialSeq === undefined ? { at: 'unread' } : { at: 'message', seq: initialSeq, isAsked: true },
  )
  const [rangeKeys, setRangeKeys] = useState<RangeKeys>()
  const [isAtEnd, setIsAtEnd] = useState(true)
  const [topDay, setTopDay] = useState<string>()
  const [highlighted, setHighlighted] = useState<number>()
  const [reachable, setReachable] = useState<string>()
  const [wayBack, setWayBack] = useState<WayBack>()
  // The set of unread messages is certain only after this device has caught up.
  const [isDecided, setIsDecided] = useState(false)
  const reachableKey = rows.some((row) => row.key === reachable) ? reachable : rows.at(-1)?.key

  const aimIndex = indexOfAim(aim, rows)
  const range = useMemo(
    () => resolveRange(rangeKeys, keys, aimIndex === -1 ? undefined : aimIndex),
    [rangeKeys, keys, aimIndex],
  )
  // A conversation that opens at an old message shows no rows until that message is loaded, unless
  // the server is unreachable.
  const [hasArrived, setHasArrived] = useState(false)
  const isOnTheWay = !hasArrived && aimIndex === -1 && needsPage(aim, view, isLineLoaded)
  const isListShown = view.isLoaded && rows.length > 0 && !(isOnTheWay && (isCurrent || isCatchingUp))

  const draw = useCallback(
    (restored: Restored) => {
      if (restored.state === 'draw') setRangeKeys(keysOf(restored.range, keys))
    },
    [keys],
  )

  useLayoutEffect(() => {
    const element = frame.current?.querySelector<HTMLElement>('.message-scroller')
    if (!isListShown || element === null || element === undefined || list.current === null) return
    return scroller.attach(element, list.current)
  }, [scroller, isListShown])

  // After every render, before the paint: follow the aim, then restore the place.
  useLayoutEffect(() => {
    if (!isListShown) return
    scroller.setRows(names, keys, range, view.hasNewer)
    const row = names[aimIndex]
    if (aim.at === 'end') scroller.wantEnd()
    else if (row !== undefined) scroller.wantRow(row, offsetOf(aim, scroller, aimIndex))
    let restored = scroller.restore()
    if (restored.state === 'lost') {
      const { row: lost, topPx } = restored.place
      const near = nearestRow(lost?.seq, names, view)
      const offsetPx = topPx - (frame.current?.getBoundingClientRect().top ?? 0)
      if (near === 'not-loaded' && lost?.seq !== undefined && aim.at === 'nothing')
        setAim({ at: 'message', seq: lost.seq, offsetPx, isAsked: false })
      if (near === 'not-loaded' || near === undefined) scroller.wantEnd()
      else scroller.wantRow(near, offsetPx)
      restored = scroller.restore()
    }
    draw(restored)
    setIsAtEnd(scroller.isAtEnd)
    if (restored.state !== 'right') return
    if (rangeKeys === undefined) setRangeKeys(keysOf(range, keys))
    setHasArrived(true)
    switch (aim.at) {
      case 'nothing':
        return
      case 'end':
        if (!view.hasNewer) setAim(nothing)
        return
      case 'unread':
        if (row !== undefined && isDecided) setAim(nothing)
        return
      case 'message':
        if (row === undefined) return
        setAim(nothing)
        if (aim.isAsked) setHighlighted(aim.seq)
        setReachable(row.key)
    }
  })

  // Load the page that an aim needs. Wait while another page is loading, because a second request
  // would be dropped.
  const loads = useRef<{ readonly aim: Aim; readonly count: number }>({ aim, count: 0 })
  const needs = aimIndex === -1 && needsPage(aim, view, isLineLoaded)
  useEffect(() => {
    if (aim.at === 'nothing' || view.loading !== 'nothing') return
    if (!needs) {
      // This device has caught up and nothing is unread: go to the end.
      if (aim.at === 'unread' && isDecided && aimIndex === -1 && view.isLoaded) setAim({ at: 'end' })
      return
    }
    const isPressed = aim.at === 'message' && aim.isAsked && hasArrived
    if (!isCurrent && !isPressed) return
    const giveUp = (error: unknown): void => {
      setAim((present) => (present === aim ? nothing : present))
      const isSaid = aim.at === 'end' || (aim.at === 'message' && aim.isAsked)
      const what = aim.at === 'end' ? 'Couldn’t load the newest messages' : 'Couldn’t go to that message'
      if (isSaid) attempt(Promise.reject(error instanceof Error ? error : new Error('not loaded')), what)
    }
    const count = loads.current.aim === aim ? loads.current.count + 1 : 1
    loads.current = { aim, count }
    if (count > loadsMax) giveUp(undefined)
    else if (aim.at === 'end') messages.loadNewest().catch(giveUp)
    else messages.loadAround(aimedSeq(aim, unreadAfter)).catch(giveUp)
  }, [aim, aimIndex, needs, view.loading, view.isLoaded, isCurrent, isDecided, hasArrived, messages, unreadAfter])

  // Continue at the first unread message when this device has caught up, and when the user returns
  // to the page.
  const newestSummary = useRef(summary)
  useEffect(() => {
    newestSummary.current = summary
  }, [summary])
  const isFirst = useRef(true)
  const goOnReading = useCallback(() => {
    const { unread: count, readSeq } = newestSummary.current
    setUnreadAfter((line) => (count > 0 ? readSeq : isFirst.current ? undefined : line))
    isFirst.current = false
    setIsDecided(true)
    if (count > 0 && scroller.isAtEnd) setAim((present) => (present.at === 'nothing' ? { at: 'unread' } : present))
  }, [scroller])
  useEffect(() => {
    if (isCurrent) goOnReading()
  }, [isCurrent, goOnReading])
  useEffect(() => {
    const follow = (): void => {
      if (document.visibilityState === 'hidden') setUnreadAfter((line) => line ?? newestSummary.current.readSeq)
      else if (newestSummary.current.unread === 0) setUnreadAfter(undefined)
      // Render synchronously, or the next frame would mark the end as read.
      else flushSync(goOnReading)
    }
    document.addEventListener('visibilitychange', follow)
    return () => document.removeEventListener('visibilitychange', follow)
  }, [goOnReading])

  useEffect(() => {
    if (highlighted === undefined) return
    const timer = setTimeout(() => setHighlighted(undefined), highlightMs)
    return () => clearTimeout(timer)
  }, [highlighted])
  useEffect(() => {
    if (wayBack === undefined) return
    const timer = setTimeout(() => setWayBack(undefined), wayBackMs)
    return () => clearTimeout(timer)
  }, [wayBack])

  const jumpTo = useCallback((seq: number) => setAim({ at: 'message', seq, isAsked: true }), [])
  const firstSeq = useRef(initialSeq)
  useEffect(() => {
    if (initialSeq !== firstSeq.current && initialSeq !== undefined) jumpTo(initialSeq)
    firstSeq.current = initialSeq
  }, [initialSeq, jumpTo])

  const toEnd = useCallback(() => {
    setUnreadAfter(undefined)
    setWayBack(undefined)
    setAim({ at: 'end' })
  }, [])

  // Scroll to the user's own new message. A message sent in another tab does not move this list.
  const [seenWaiting, setSeenWaiting] = useState(newestWaiting)
  if (newestWaiting !== seenWaiting) {
    setSeenWaiting(newestWaiting)
    if (newestWaiting !== undefined && document.hasFocus()) {
      setUnreadAfter(undefined)
      setAim({ at: 'end' })
      const { isAtEnd: wasAtEnd, row, topPx } = scroller.place
      if (!wasAtEnd && row?.seq !== undefined) setWayBack({ seq: row.seq, offsetPx: topPx - scroller.frameTopPx })
    }
  }

  const focusRow = useCallback(
    (index: number) => {
      const row = names[index]
      if (row === undefined) return
      flushSync(() => {
        setAim(nothing)
        setReachable(row.key)
        if (scroller.childAt(index) !== undefined) return
        scroller.wantRow(row, unreadLinePx)
        setRangeKeys(keysOf(aroundIndex(index, keys.length), keys))
      })
      scroller.reveal(index)
      scroller.childAt(index)?.querySelector<HTMLElement>('.message')?.focus({ preventScroll: true })
    },
    [names, keys, scroller],
  )
  useImperativeHandle(ref, () => ({ jumpTo, toEnd, focusLast: () => focusRow(names.length - 1) }), [
    jumpTo,
    toEnd,
    focusRow,
    names.length,
  ])

  // Reads the screen: the day at the top, the last message read, and whether an edge is near.
  const isEdgeBlocked = useRef(false)
  // Show the day only while the user scrolls. Otherwise it would cover text being read.
  const [isMoving, setIsMoving] = useState(false)
  const rest = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => () => clearTimeout(rest.current), [])
  const look = useCallback(() => {
    const shown = isListShown ? scroller.shown(pillZonePx, readSlackPx) : undefined
    if (shown === undefined) return
    const first = rows[shown.first]
    const isDividerShown = first?.startsDay === true && shown.firstTopPx >= 0
    const isDayShown = isMoving && !isDividerShown && shown.scrolledPx > 4
    setTopDay(isDayShown ? first?.createdAt : undefined)

    const isStill = aim.at === 'nothing' || aim.at === 'end'
    if (isStill && !isCatchingUp && document.visibilityState === 'visible' && document.hasFocus()) {
      const seq = names.slice(0, shown.last + 1).findLast((name) => name.seq !== undefined)?.seq ?? 0
      if (seq > (conversation.summary.get()?.readSeq ?? seq)) conversation.markRead(seq).catch(() => undefined)
    }

    // Keep the Tab stop on a visible message.
    setReachable((present) => {
      const index = names.findIndex(({ key }) => key === present)
      return index >= shown.first && index <= shown.last ? present : names[Math.max(shown.first, shown.last)]?.key
    })

    if (view.loading !== 'nothing' || aim.at !== 'nothing' || isEdgeBlocked.current) return
    // Do not load again until something has changed. Without a connection, this would retry in
    // every frame.
    const block = (): void => {
      isEdgeBlocked.current = true
    }
    const isNearEnd = shown.last >= view.items.length - nearEdgeRows
    if (view.hasOlder && shown.first < nearEdgeRows) messages.loadOlder().catch(block)
    else if (view.hasNewer && isNearEnd) messages.loadNewer().catch(block)
  }, [isListShown, scroller, rows, names, view, aim, isCatchingUp, isMoving, conversation, messages])

  const lookSoon = useFrame(look)
  useEffect(lookSoon, [lookSoon, rows, view, summary.readSeq, aim, isCatchingUp])
  useEffect(() => {
    isEdgeBlocked.current = false
  }, [isCurrent])
  useEffect(() => {
    window.addEventListener('focus', lookSoon)
    document.addEventListener('visibilitychange', lookSoon)
    return () => {
      window.removeEventListener('focus', lookSoon)
      document.removeEventListener('visibilitychange', lookSoon)
    }
  }, [lookSoon])

  const followScroll = (): void => {
    if (scroller.takeScroll()) {
      isEdgeBlocked.current = false
      setIsMoving(true)
      clearTimeout(rest.current)
      rest.current = setTimeout(() => setIsMoving(false), movingMs)
      if (aim.at !== 'nothing' && !(aim.at === 'message' && aim.isAsked)) setAim(nothing)
    }
    const restored = scroller.restore()
    setIsAtEnd(scroller.isAtEnd)
    if (restored.state === 'draw' && restored.isUrgent) flushSync(() => draw(restored))
    else draw(restored)
    lookSoon()
  }

  // Rows change their size after they were drawn (a reaction, a font, Markdown that was loaded). So
  // do the elements around the list.
  const followSizes = useNewest((entries: readonly ResizeObserverEntry[]) => {
    for (const { target, borderBoxSize } of entries) scroller.takeSize(target, borderBoxSize[0]?.blockSize ?? 0)
    draw(scroller.restore())
    setIsAtEnd(scroller.isAtEnd)
    lookSoon()
  })
  const [sizes] = useState(() => new ResizeObserver((entries) => followSizes.current(entries)))
  const observe = useCallback(
    (element: HTMLElement | null) => {
      if (element === null) return
      sizes.observe(element)
      return () => sizes.unobserve(element)
    },
    [sizes],
  )

  const pressKey = (event: KeyboardEvent<HTMLDivElement>): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.target instanceof HTMLElement)) return
    const article = event.target.closest<HTMLElement>('.message')
    const key = article?.closest<HTMLElement>('[data-row]')?.dataset['row']
    const index = rows.findIndex((row) => row.key === key)
    const row = rows[index]
    if (article === null || row === undefined) return
    const handled = (): void => {
      event.preventDefault()
      event.stopPropagation()
    }
    switch (event.key) {
      case 'ArrowUp':
        handled()
        focusRow(Math.max(0, index - 1))
        return
      case 'ArrowDown':
        handled()
        focusRow(Math.min(rows.length - 1, index + 1))
        return
      case 'Home':
        handled()
        focusRow(0)
        return
      case 'End':
        handled()
        focusRow(rows.length - 1)
        return
      case 'ArrowRight':
      case 'ArrowLeft': {
        const buttons = [...article.querySelectorAll<HTMLElement>(stops)]
        const at = buttons.indexOf(event.target)
        const next = at + (event.key === 'ArrowRight' ? 1 : -1)
        if (buttons.length === 0 || (at === -1 && event.key === 'ArrowLeft')) return
        handled()
        ;(buttons[next] ?? article).focus()
        return
      }
      case 'Escape':
        if (event.target === article) return
        handled()
        article.focus()
        return
    }
    if (event.target !== article || row.item.kind !== 'message' || row.item.message.deletedAt !== null) return
    const { message } = row.item
    switch (latinKey(event.nativeEvent)) {
      case 'r':
        handled()
        actions.reply(message)
        return
      case 'e':
        handled()
        if (row.isMine) actions.edit(message)
        return
      case 'a':
        handled()
        actions.pickReaction(message, article.querySelector('.bubble') ?? article)
        return
      case 'm':
      case 'enter':
        handled()
        actions.openMenu(message, article.querySelector('.bubble') ?? article)
        return
      case 'delete':
        handled()
        actions.askToDelete(message)
        return
    }
  }

  if (!view.isLoaded || (rows.length > 0 && !isListShown))
    return <MessagesSkeleton view={view} onRetry={() => attempt(messages.loadNewest(), 'Couldn’t load messages')} />
  if (rows.length === 0)
    return (
      <div className='message-list'>
        <div className='message-list-empty'>
          <ConversationStart summary={summary} isEmpty />
        </div>
      </div>
    )
  const isBehind = !isAtEnd || view.hasNewer
  // Set the padding in the same render as the rows. A component that reads the layout earlier would
  // find the list too short, and the browser would clamp the scroll offset.
  const room = {
    paddingTop: scroller.heights.sumOf(keys, 0, range.from),
    paddingBottom: scroller.heights.sumOf(keys, range.to, keys.length),
  }
  return (
    <div className='message-list' ref={frame} onKeyDown={pressKey}>
      <div className='message-scroller scrolls' ref={observe} onScroll={followScroll} tabIndex={-1}>
        <div className='message-column'>
          {view.hasOlder ? (
            <div className='older-place' aria-hidden='true'>
              <div className='skeleton older-line' />
              <div className='skeleton older-line older-line-short' />
            </div>
          ) : (
            <ConversationStart summary={summary} isEmpty={false} />
          )}
          <div ref={list} role='list' aria-label='Messages' style={room}>
            {rows.slice(range.from, range.to).map((row) => (
              <div key={row.key} ref={observe} role='listitem' data-key={row.key}>
                {row.key === gapKey && <p className='rows-gap'>Newer messages are not loaded yet</p>}
                <MessageRowView
                  conversation={id}
                  row={row}
                  readUpTo={readUpTo}
                  isHighlighted={highlighted !== undefined && seqOf(row) === highlighted}
                  isReachable={row.key === reachableKey}
                />
              </div>
            ))}
          </div>
          <div className='list-end' />
        </div>
      </div>
      <div className='day-pill-place' data-shown={topDay !== undefined} aria-hidden='true'>
        {topDay !== undefined && <span className='day-pill'>{formatDay(topDay, { now })}</span>}
      </div>
      {wayBack !== undefined && (
        <button
          type='button'
          className='list-way way-back'
          onClick={() => {
            setWayBack(undefined)
            setAim({ at: 'message', ...wayBack, isAsked: true })
          }}
        >
          <Undo2 aria-hidden='true' />
          Back to where you were
        </button>
      )}
      {isBehind && (
        <button type='button' className='list-way to-end' onClick={toEnd} data-testid='to-end'>
          <ArrowDown aria-hidden='true' />
          {unread > 0 ? (
            `${formatCount(unread)} new`
          ) : (
            <span className='hidden-visually'>Go to the newest message</span>
          )}
        </button>
      )}
    </div>
  )
}

/**
 * Returns the user's pending messages while the newest page is not loaded. The timeline leaves them
 * out then, but the user must always see them.
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

function useNewestWaiting(id: string): string | undefined {
  return useOutbox().findLast(({ conversation, status }) => conversation === id && status.state === 'pending')?.clientId
}

function indexOfAim(aim: Aim, rows: readonly MessageRow[]): number {
  switch (aim.at) {
    case 'nothing':
    case 'end':
      return -1
    case 'unread':
      return rows.findIndex(({ startsUnread }) => startsUnread)
    case 'message':
      return rows.findIndex((row) => seqOf(row) === aim.seq)
  }
}

/** Returns whether an aim whose row is missing needs a page that is not loaded. */
function needsPage(aim: Aim, view: TimelineView, isLineLoaded: boolean): boolean {
  switch (aim.at) {
    case 'nothing':
      return false
    case 'end':
      return view.hasNewer
    case 'unread':
      return !isLineLoaded
    case 'message':
      return true
  }
}

/** Returns whether the loaded items reach back to the first message after `seq`. */
function reachesBackTo({ items, hasOlder }: TimelineView, seq: number | undefined): boolean {
  if (seq === undefined || !hasOlder) return true
  const first = items[0]
  return first?.kind !== 'message' || first.message.seq <= seq + 1
}

function aimedSeq(aim: Aim, unreadAfter: number | undefined): number {
  return aim.at === 'message' ? aim.seq : Math.max(1, unreadAfter ?? 1)
}

/** Returns the offset at which an aim wants its row, from the top of the list. */
function offsetOf(aim: Aim, scroller: ListScroller, index: number): number {
  if (aim.at !== 'message') return unreadLinePx
  if (aim.offsetPx !== undefined) return aim.offsetPx
  const heightPx = scroller.childAt(index)?.getBoundingClientRect().height ?? 0
  return Math.max(unreadLinePx, (scroller.viewportPx - heightPx) / 2)
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

/** Returns a ref to the newest version of a callback, for an observer that calls it later. */
function useNewest<Callback>(callback: Callback): { readonly current: Callback } {
  const newest = useRef(callback)
  useLayoutEffect(() => {
    newest.current = callback
  })
  return newest
}

/**
 * Returns a function that runs the newest version of a callback, at most once per animation frame.
 */
function useFrame(callback: () => void): () => void {
  const newest = useRef(callback)
  useEffect(() => {
    newest.current = callback
  }, [callback])
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
