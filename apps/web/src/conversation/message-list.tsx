/**
 * The messages of one conversation: only what is near the screen is in the page. Older and newer pages load before their edge is
 * reached, and what is being read stays where it is whatever arrives. At the end it follows; elsewhere a button says how much is new.
 */
import type { ConversationSummary, TimelineView } from '@chorus/client'
import { useChat, useConversationUnread, useReadMarkers } from '@chorus/react'
import { ArrowDown } from 'lucide-react'
import {
  useCallback,
  useEffect,
  useImperativeHandle,
  useMemo,
  useRef,
  useState,
  type ComponentProps,
  type KeyboardEvent,
  type Ref,
} from 'react'
import { Virtuoso, type VirtuosoHandle } from 'react-virtuoso'
import { attempt } from '../notices/explain-error.ts'
import { useMe } from '../shell/me.tsx'
import { formatDay } from '../time/format-time.ts'
import { useNow } from '../time/use-now.ts'
import { latinKey } from '../ui/keys.ts'
import { useMessageActions } from './message-actions.ts'
import { MessageRowView } from './message-row.tsx'
import { ConversationStart, MessagesSkeleton } from './message-list-states.tsx'
import {
  advanceOrigin,
  buildRows,
  firstIndexAtStart,
  readByOthers,
  seqOf,
  type ListOrigin,
  type MessageRow,
} from './rows.ts'
import { formatCount } from './title.ts'
import './message-list.css'

export interface MessageListHandle {
  /** Shows a message in the middle, loading it first where needed, and highlights it. */
  readonly jumpTo: (seq: number) => void
  readonly toEnd: () => void
  /** Puts the focus on the newest message. */
  readonly focusLast: () => void
}

interface MessageListProps {
  readonly summary: ConversationSummary
  readonly view: TimelineView
  /** The message that the address names. */
  readonly initialSeq: number | undefined
  readonly ref: Ref<MessageListHandle>
}

interface StartLocation {
  readonly index: number | 'LAST'
  readonly align: 'start' | 'center' | 'end'
  readonly offset?: number
}

interface ListContext {
  readonly summary: ConversationSummary
  readonly hasOlder: boolean
  /** Older pages were there when the conversation was opened: their place keeps its height when the last has come. */
  readonly hadOlder: boolean
}

/** What the arrow keys reach inside a message, in this order. */
const stops = '.quote, .message-toolbar button, .reaction, .message-failed button'
const nearEdgeRows = 8
const highlightMs = 1_900
const atEndPx = 60
const pillZonePx = 48

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

  const [unreadAfter, setUnreadAfter] = useUnreadLine(summary)
  const rows = useMemo(() => buildRows(view.items, { me: me.id, unreadAfter }), [view.items, me.id, unreadAfter])
  const [storedOrigin, setOrigin] = useState<ListOrigin>(startOrigin)
  const origin = advanceOrigin(storedOrigin, rows)
  if (origin !== storedOrigin) setOrigin(origin)

  const virtuoso = useRef<VirtuosoHandle>(null)
  const frame = useRef<HTMLDivElement>(null)
  const [isAtEnd, setIsAtEnd] = useState(true)
  // Where the last scroll left off. What grows at the end (a reaction, a longer composer) is no scroll, so the end stays the end.
  const stays = useRef<'at-end' | 'elsewhere'>(undefined)
  const lastScrollTop = useRef(0)
  const [topDay, setTopDay] = useState<string>()
  const [highlighted, setHighlighted] = useState<number>()
  const [target, setTarget] = useState(initialSeq)
  const [reachable, setReachable] = useState<string>()

  const { hasOlder } = view
  const [hadOlder, setHadOlder] = useState(hasOlder)
  if (hasOlder && !hadOlder) setHadOlder(true)
  const context = useMemo<ListContext>(() => ({ summary, hasOlder, hadOlder }), [summary, hasOlder, hadOlder])
  const reachableKey = rows.some((row) => row.key === reachable) ? reachable : rows.at(-1)?.key

  // With more unread than the newest page holds, reading goes on where it stopped, not in the middle of what is new.
  const [seek, setSeek] = useState<'undecided' | 'seeking' | 'done'>('undecided')
  if (seek === 'undecided' && view.isLoaded) {
    const firstSeq = rows.map(seqOf).find((seq) => seq !== undefined)
    const isBeyond = unreadAfter !== undefined && firstSeq !== undefined && firstSeq > unreadAfter + 1
    setSeek(isBeyond && view.hasOlder && !view.hasNewer && initialSeq === undefined ? 'seeking' : 'done')
  }
  useEffect(() => {
    if (seek !== 'seeking') return
    const stop = (): void => setSeek('done')
    messages.loadAround(Math.max(1, unreadAfter ?? 1)).then(stop, stop)
  }, [seek, messages, unreadAfter])

  // Jumping: as soon as the message that is wanted is among the rows, it is shown and highlighted.
  const targetIndex = target === undefined ? -1 : rows.findIndex((row) => seqOf(row) === target)
  useEffect(() => {
    if (target === undefined || targetIndex === -1) return
    stays.current = 'elsewhere'
    virtuoso.current?.scrollToIndex({ index: targetIndex, align: 'center' })
    setHighlighted(target)
    setTarget(undefined)
    setReachable(rows[targetIndex]?.key)
  }, [target, targetIndex, rows])
  useEffect(() => {
    if (highlighted === undefined) return
    const timer = setTimeout(() => setHighlighted(undefined), highlightMs)
    return () => clearTimeout(timer)
  }, [highlighted])

  const jumpTo = useCallback(
    (seq: number) => {
      setTarget(seq)
      if (messages.view.get().items.some((item) => item.kind === 'message' && item.message.seq === seq)) return
      messages.loadAround(seq).catch(() => {
        setTarget(undefined)
        attempt(Promise.reject(new Error('not loaded')), 'Couldn’t go to that message')
      })
    },
    [messages],
  )
  useEffect(() => {
    if (initialSeq !== undefined) jumpTo(initialSeq)
  }, [initialSeq, jumpTo])

  const toEnd = useCallback(() => {
    stays.current = 'at-end'
    setUnreadAfter(undefined)
    if (messages.view.get().hasNewer) attempt(messages.loadNewest(), 'Couldn’t load the newest messages')
    virtuoso.current?.scrollToIndex({ index: 'LAST', align: 'end' })
  }, [messages, setUnreadAfter])

  const focusRow = useCallback(
    (index: number) => {
      const row = rows[index]
      if (row === undefined) return
      setReachable(row.key)
      const focus = (): void => {
        const article = frame.current?.querySelector<HTMLElement>(`[data-row="${CSS.escape(row.key)}"] > .message`)
        article?.focus({ preventScroll: true })
      }
      virtuoso.current?.scrollIntoView({ index, done: focus })
      focus()
    },
    [rows],
  )
  useImperativeHandle(ref, () => ({ jumpTo, toEnd, focusLast: () => focusRow(rows.length - 1) }), [
    jumpTo,
    toEnd,
    focusRow,
    rows.length,
  ])

  // My own message always comes into view.
  const waiting = view.items.filter((item) => item.kind === 'pending').length
  const waitingBefore = useRef(waiting)
  useEffect(() => {
    if (waiting > waitingBefore.current) toEnd()
    waitingBefore.current = waiting
  }, [waiting, toEnd])

  // What stands on the screen: the day at the top, how far one has read, and whether an edge is near.
  const measure = useCallback(() => {
    const scroller = scrollerIn(frame.current)
    if (scroller === null) return
    const { top, bottom } = scroller.getBoundingClientRect()
    const shown = [...scroller.querySelectorAll<HTMLElement>('[data-row]')]
    const first = shown.find((element) => element.getBoundingClientRect().bottom > top + pillZonePx)
    const row = first === undefined ? undefined : rows.find(({ key }) => key === first.dataset['row'])
    const divider = first?.querySelector('[data-divider]')?.getBoundingClientRect()
    const isDividerShown = divider !== undefined && divider.top >= top
    const isScrolled = scroller.scrollTop > 4
    setTopDay(row === undefined || isDividerShown || !isScrolled ? undefined : row.createdAt)

    if (document.visibilityState === 'visible' && document.hasFocus()) {
      const last = shown.findLast((element) => {
        return element.dataset['seq'] !== undefined && element.getBoundingClientRect().bottom <= bottom + 24
      })
      const seq = Number(last?.dataset['seq'] ?? 0)
      if (seq > (conversation.summary.get()?.readSeq ?? seq)) conversation.markRead(seq).catch(() => undefined)
    }

    // The Tab key must find a message on the screen.
    const keys = shown.map((element) => element.dataset['row'])
    setReachable((present) => (present !== undefined && keys.includes(present) ? present : keys.at(-1)))

    if (view.loading !== 'nothing') return
    const firstIndex = rows.findIndex(({ key }) => key === keys[0])
    const lastIndex = rows.findIndex(({ key }) => key === keys.at(-1))
    if (view.hasOlder && firstIndex !== -1 && firstIndex < nearEdgeRows) messages.loadOlder().catch(() => undefined)
    if (view.hasNewer && lastIndex >= rows.length - nearEdgeRows) messages.loadNewer().catch(() => undefined)
  }, [rows, view, conversation, messages])

  const measureSoon = useFrame(measure)
  useEffect(measureSoon, [measureSoon, rows, view, summary.readSeq])
  useEffect(() => {
    window.addEventListener('focus', measureSoon)
    document.addEventListener('visibilitychange', measureSoon)
    return () => {
      window.removeEventListener('focus', measureSoon)
      document.removeEventListener('visibilitychange', measureSoon)
    }
  }, [measureSoon])

  // Where to begin: at the message that is wanted, at the unread line, or at the end.
  const start = (): StartLocation => {
    if (targetIndex !== -1) return { index: targetIndex, align: 'center' }
    const firstUnread = rows.findIndex((row) => row.startsUnread)
    if (firstUnread !== -1) return { index: firstUnread, align: 'start', offset: -72 }
    return { index: 'LAST', align: 'end' }
  }
  const beginsAtEnd = start().index === 'LAST'

  const followScroll = useCallback(() => {
    const scroller = scrollerIn(frame.current)
    const last = scroller === null ? undefined : [...scroller.querySelectorAll<HTMLElement>('[data-row]')].at(-1)
    // While the list is being laid out it has no rows, and says nothing about where one stands.
    if (scroller !== null && last !== undefined) {
      const isUp = scroller.scrollTop < lastScrollTop.current - 1
      lastScrollTop.current = scroller.scrollTop
      const isLast = last.dataset['row'] === rows.at(-1)?.key
      const belowPx = last.getBoundingClientRect().bottom - scroller.getBoundingClientRect().bottom
      // Only scrolling up leaves the end: what arrives fast makes more room below than has been laid out yet.
      if (isUp || stays.current !== 'at-end') stays.current = isLast && belowPx < atEndPx ? 'at-end' : 'elsewhere'
    }
    measureSoon()
  }, [measureSoon, rows])
  const stayAtEnd = useCallback(() => {
    const scroller = scrollerIn(frame.current)
    const place = stays.current ?? (beginsAtEnd ? 'at-end' : 'elsewhere')
    if (scroller !== null && place === 'at-end' && !messages.view.get().hasNewer) {
      scroller.scrollTop = scroller.scrollHeight
    }
    measureSoon()
  }, [measureSoon, messages, beginsAtEnd])
  const isListShown = view.isLoaded && seek === 'done' && rows.length > 0
  useEffect(() => {
    const scroller = isListShown ? scrollerIn(frame.current) : null
    if (scroller === null) return
    const observer = new ResizeObserver(stayAtEnd)
    observer.observe(scroller)
    return () => observer.disconnect()
  }, [stayAtEnd, isListShown, origin.generation])
  useEffect(() => {
    if (!isListShown) return
    return () => {
      stays.current = undefined
    }
  }, [isListShown, origin.generation])

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

  if (!view.isLoaded || seek !== 'done')
    return <MessagesSkeleton view={view} onRetry={() => attempt(messages.loadNewest(), 'Couldn’t load messages')} />
  const isBehind = !isAtEnd || view.hasNewer
  return (
    <div className='message-list' ref={frame} onKeyDown={pressKey}>
      {rows.length === 0 ? (
        <div className='message-list-empty'>
          <ConversationStart summary={summary} isEmpty />
        </div>
      ) : (
        <Virtuoso
          key={origin.generation}
          ref={virtuoso}
          className='message-scroller scrolls'
          data={rows}
          context={context}
          firstItemIndex={origin.firstItemIndex}
          initialTopMostItemIndex={start()}
          computeItemKey={(_index, row) => row.key}
          alignToBottom
          skipAnimationFrameInResizeObserver
          atBottomThreshold={atEndPx}
          atBottomStateChange={setIsAtEnd}
          increaseViewportBy={{ top: 900, bottom: 600 }}
          defaultItemHeight={52}
          onScroll={followScroll}
          totalListHeightChanged={stayAtEnd}
          components={components}
          tabIndex={-1}
          itemContent={(_index, row: MessageRow) => (
            <>
              {row === rows[0] && !hadOlder && <ConversationStart summary={summary} isEmpty={false} />}
              <MessageRowView
                conversation={id}
                row={row}
                readUpTo={readUpTo}
                isHighlighted={highlighted !== undefined && seqOf(row) === highlighted}
                isReachable={row.key === reachableKey}
              />
            </>
          )}
        />
      )}
      <div className='day-pill-place' data-shown={topDay !== undefined} aria-hidden='true'>
        {topDay !== undefined && <span className='day-pill'>{formatDay(topDay, { now })}</span>}
      </div>
      {isBehind && rows.length > 0 && (
        <button type='button' className='to-end' onClick={toEnd} data-testid='to-end'>
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

function scrollerIn(frame: HTMLElement | null): HTMLElement | null {
  return frame?.querySelector<HTMLElement>('[data-virtuoso-scroller]') ?? null
}

const startOrigin: ListOrigin = { firstKey: undefined, firstItemIndex: firstIndexAtStart, generation: 0 }

/** Where reading stopped when the conversation was opened, or when the person last looked away from it. */
function useUnreadLine(summary: ConversationSummary): [number | undefined, (seq: number | undefined) => void] {
  const [unreadAfter, setUnreadAfter] = useState(summary.unread > 0 ? summary.readSeq : undefined)
  const newest = useRef(summary)
  useEffect(() => {
    newest.current = summary
  }, [summary])
  useEffect(() => {
    const follow = (): void => {
      if (document.visibilityState === 'hidden') setUnreadAfter((line) => line ?? newest.current.readSeq)
      else if (newest.current.unread === 0) setUnreadAfter(undefined)
    }
    document.addEventListener('visibilitychange', follow)
    return () => document.removeEventListener('visibilitychange', follow)
  }, [])
  return [unreadAfter, setUnreadAfter]
}

/** Runs a callback at most once a frame, always its newest version. */
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

type PartProps = ComponentProps<'div'> & { readonly context: ListContext; readonly item?: unknown }

const components = {
  Header: ({ context }: { readonly context: ListContext }) =>
    !context.hadOlder ? null : context.hasOlder ? (
      <div className='older-place' aria-hidden='true'>
        <div className='skeleton older-line' />
        <div className='skeleton older-line older-line-short' />
      </div>
    ) : (
      <ConversationStart summary={context.summary} isEmpty={false} />
    ),
  Footer: () => <div className='list-end' />,
  List: ({ context: _context, ...rest }: PartProps) => <div {...rest} role='list' aria-label='Messages' />,
  Item: ({ context: _context, item: _item, ...rest }: PartProps) => <div {...rest} role='listitem' />,
}
