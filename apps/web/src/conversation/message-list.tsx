/**
 * Virtual list of the messages of one conversation: only rows near the screen are in the DOM.
 * Guarantee: if the user is at the end, the list follows new messages; otherwise the line being
 * read keeps its position, whatever arrives (rule READ1; see `use-place.ts`). Older and newer pages
 * load before the user reaches the edge.
 */
import type { ConversationSummary, TimelineView } from '@chorus/client'
import { useChat, useConnection, useConversationUnread, useDataState, useReadMarkers } from '@chorus/react'
import { ArrowDown, Undo2 } from 'lucide-react'
import { useImperativeHandle, useState, type Ref } from 'react'
import { attempt } from '../notices/explain-error.ts'
import { useMe } from '../people/me.tsx'
import { formatCount } from '../summary/title.ts'
import { formatDay } from '../time/format-time.ts'
import { useNow } from '../time/use-now.ts'
import { ConversationStart, MessagesSkeleton } from './message-list-states.tsx'
import { MessageRowView } from './message-row.tsx'
import { readByOthers, seqOf } from './rows.ts'
import { noAim, useAim, useAimedPage } from './use-aim.ts'
import { useHighlight, useJumps } from './use-jumps.ts'
import { useFocusRow, useListKeys } from './use-list-keys.ts'
import { useListRows } from './use-list-rows.ts'
import { usePlace, useSizes } from './use-place.ts'
import { useShownRows, type CatchUp } from './use-shown-rows.ts'
import { useGoOnReading, useUnreadLine } from './use-unread-line.ts'
import './message-list.css'

export interface MessageListHandle {
  /** Scrolls to a message and highlights it. Loads the message first if needed. */
  readonly jumpTo: (seq: number) => void
  readonly toEnd: () => void
  /** Moves the focus to the newest message. */
  readonly focusLast: () => void
}

interface MessageListProps {
  readonly summary: ConversationSummary
  readonly view: TimelineView
  /**
   * Seq of the message in the address of the page, at which the list opens. Undefined: the list
   * opens at the first unread message.
   */
  readonly initialSeq: number | undefined
  readonly ref: Ref<MessageListHandle>
}

export function MessageList({ summary, view, initialSeq, ref }: MessageListProps) {
  const { id } = summary
  const { user: me } = useMe()
  const now = useNow()
  const conversation = useChat().conversation(id)
  const { messages } = conversation
  const readUpTo = readByOthers(useReadMarkers(id), me.id)
  const unread = useConversationUnread(id)
  const catchUp = useCatchUp()
  const { isCurrent } = catchUp

  const line = useUnreadLine(summary)
  const list = useListRows(id, view, line.after)
  const { rows, names, keys, gapKey } = list
  const aims = useAim(initialSeq, list, view)
  const { aim, setAim } = aims
  const [highlighted, highlight] = useHighlight()
  const [reachable, setReachable] = useState<string>()
  const reachableKey = rows.some((row) => row.key === reachable) ? reachable : rows.at(-1)?.key

  const place = usePlace({
    list,
    aims,
    view,
    isReachable: isCurrent || catchUp.isCatchingUp,
    isDecided: line.isDecided,
    onMessage: ({ seq, isAsked }, row) => {
      if (isAsked) highlight(seq)
      setReachable(row.key)
    },
  })
  const { scroller, range, isListShown } = place
  const { isDecided, after: unreadAfter, setAfter: setUnreadAfter } = line
  useAimedPage(aims, { view, messages, unreadAfter, isCurrent, isDecided, hasArrived: place.hasArrived })
  useGoOnReading(line, { summary, isCurrent, scroller, setAim })
  const { jumpTo, toEnd, goBack } = useJumps({ id, initialSeq, setAim, setUnreadAfter, scroller })
  const focusRow = useFocusRow(list, place, setAim, setReachable)
  useImperativeHandle(ref, () => ({ jumpTo, toEnd, focusLast: () => focusRow(names.length - 1) }), [
    jumpTo,
    toEnd,
    focusRow,
    names.length,
  ])
  const screen = useShownRows({ conversation, summary, view, list, place, aim, catchUp, setReachable })
  const { topDay, lookSoon } = screen

  const followScroll = (): void => {
    if (scroller.takeScroll()) {
      screen.takeScroll()
      if (aim.at !== 'nothing' && !(aim.at === 'message' && aim.isAsked)) setAim(noAim)
    }
    place.followScroll()
    lookSoon()
  }
  const observe = useSizes((entries) => {
    place.followSizes(entries)
    lookSoon()
  })
  const pressKey = useListKeys(rows, focusRow)

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
  const isBehind = !place.isAtEnd || view.hasNewer
  // Set the padding above and below the drawn rows in the same render as the rows. Otherwise a
  // component that reads the layout would find the list too short, and the browser would reduce the
  // scroll offset.
  const room = {
    paddingTop: scroller.heights.sumOf(keys, 0, range.from),
    paddingBottom: scroller.heights.sumOf(keys, range.to, keys.length),
  }
  return (
    <div className='message-list' ref={place.frame} onKeyDown={pressKey}>
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
          <div ref={place.list} role='list' aria-label='Messages' style={room}>
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
      {goBack !== undefined && (
        <button type='button' className='list-way way-back' onClick={goBack}>
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
 * Returns two values: whether this device has caught up with the server, and whether it is catching
 * up now. Both are false without a connection.
 */
function useCatchUp(): CatchUp {
  const connection = useConnection().state
  const isCurrent = useDataState() === 'live' && (connection === 'ready' || connection === 'moving')
  const isCatchingUp = !isCurrent && connection !== 'offline' && connection !== 'waiting' && connection !== 'closed'
  return { isCurrent, isCatchingUp }
}
