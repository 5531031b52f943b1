/**
 * Jumps of the message list: to a message (from a quote, a link or the page address), to the end,
 * to a message that the user just sent, and from there back to the messages that were shown before.
 */
import { useOutbox } from '@chorus/react'
import { useCallback, useEffect, useRef, useState } from 'react'
import type { ListScroller } from './message-list-scroller.ts'
import type { AimState } from './use-aim.ts'
import type { UnreadLine } from './use-unread-line.ts'

const highlightMs = 1_900
const wayBackMs = 30_000

/** Returns the seq of the message that is highlighted after a jump, and a function that sets it. */
export function useHighlight(): readonly [seq: number | undefined, highlight: (seq: number) => void] {
  const [highlighted, setHighlighted] = useState<number>()
  useEffect(() => {
    if (highlighted === undefined) return
    const timer = setTimeout(() => setHighlighted(undefined), highlightMs)
    return () => clearTimeout(timer)
  }, [highlighted])
  return [highlighted, setHighlighted]
}

/** Position in the list before it scrolled to the end because the user sent a message. */
interface WayBack {
  readonly seq: number
  readonly offsetPx: number
}

interface Jumps {
  readonly jumpTo: (seq: number) => void
  readonly toEnd: () => void
  /**
   * Scrolls back to the messages that were shown before the user sent a message. Undefined if there
   * is no such position.
   */
  readonly goBack: (() => void) | undefined
}

interface JumpsOptions {
  readonly id: string
  readonly initialSeq: number | undefined
  readonly setAim: AimState['setAim']
  readonly setUnreadAfter: UnreadLine['setAfter']
  readonly scroller: ListScroller
}

export function useJumps({ id, initialSeq, setAim, setUnreadAfter, scroller }: JumpsOptions): Jumps {
  const [wayBack, setWayBack] = useState<WayBack>()
  useEffect(() => {
    if (wayBack === undefined) return
    const timer = setTimeout(() => setWayBack(undefined), wayBackMs)
    return () => clearTimeout(timer)
  }, [wayBack])

  const jumpTo = useCallback((seq: number) => setAim({ at: 'message', seq, isAsked: true }), [setAim])
  const firstSeq = useRef(initialSeq)
  useEffect(() => {
    if (initialSeq !== firstSeq.current && initialSeq !== undefined) jumpTo(initialSeq)
    firstSeq.current = initialSeq
  }, [initialSeq, jumpTo])

  const toEnd = useCallback(() => {
    setUnreadAfter(undefined)
    setWayBack(undefined)
    setAim({ at: 'end' })
  }, [setUnreadAfter, setAim])

  // Scroll to the end when the user has sent a message. If this page does not have the focus, the
  // message was sent in another tab, and this list does not scroll.
  const newestWaiting = useNewestWaiting(id)
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

  const goBack = (place: WayBack): void => {
    setWayBack(undefined)
    setAim({ at: 'message', ...place, isAsked: true })
  }
  return { jumpTo, toEnd, goBack: wayBack === undefined ? undefined : () => goBack(wayBack) }
}

function useNewestWaiting(id: string): string | undefined {
  return useOutbox().findLast(({ conversation, status }) => conversation === id && status.state === 'pending')?.clientId
}
