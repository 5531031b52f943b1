/**
 * The unread line: a divider before the first message that was unread when the user began to read.
 * The line stays while the user reads. Its position is computed again when this device has caught
 * up with the server, and when the user returns to the page.
 */
import type { ConversationSummary } from '@chorus/client'
import { useCallback, useEffect, useRef, useState, type Dispatch, type SetStateAction } from 'react'
import { flushSync } from 'react-dom'
import type { ListScroller } from './message-list-scroller.ts'
import type { AimState } from './use-aim.ts'

export interface UnreadLine {
  /**
   * Seq of the last read message, which is directly above the unread line. Undefined: no line is
   * shown.
   */
  readonly after: number | undefined
  readonly setAfter: Dispatch<SetStateAction<number | undefined>>
  /** Whether this device has caught up with the server, so that it knows every unread message. */
  readonly isDecided: boolean
  readonly setIsDecided: (isDecided: boolean) => void
}

export function useUnreadLine({ unread, readSeq }: ConversationSummary): UnreadLine {
  const [after, setAfter] = useState(unread > 0 ? readSeq : undefined)
  const [isDecided, setIsDecided] = useState(false)
  return { after, setAfter, isDecided, setIsDecided }
}

interface GoOnReadingOptions {
  readonly summary: ConversationSummary
  readonly isCurrent: boolean
  readonly scroller: ListScroller
  readonly setAim: AimState['setAim']
}

/**
 * Moves the unread line to the first unread message when this device has caught up with the server,
 * and when the user returns to the page. If the list is at its end, it scrolls to the line.
 */
export function useGoOnReading({ setAfter, setIsDecided }: UnreadLine, options: GoOnReadingOptions): void {
  const { summary, isCurrent, scroller, setAim } = options
  const newestSummary = useRef(summary)
  useEffect(() => {
    newestSummary.current = summary
  }, [summary])
  const isFirst = useRef(true)
  const goOnReading = useCallback(() => {
    const { unread: count, readSeq } = newestSummary.current
    setAfter((line) => (count > 0 ? readSeq : isFirst.current ? undefined : line))
    isFirst.current = false
    setIsDecided(true)
    if (count > 0 && scroller.isAtEnd) setAim((present) => (present.at === 'nothing' ? { at: 'unread' } : present))
  }, [setAfter, setIsDecided, scroller, setAim])
  useEffect(() => {
    if (isCurrent) goOnReading()
  }, [isCurrent, goOnReading])
  useEffect(() => {
    const follow = (): void => {
      if (document.visibilityState === 'hidden') setAfter((line) => line ?? newestSummary.current.readSeq)
      else if (newestSummary.current.unread === 0) setAfter(undefined)
      // Render synchronously. Otherwise the next animation frame would mark the messages at the end
      // as read.
      else flushSync(goOnReading)
    }
    document.addEventListener('visibilitychange', follow)
    return () => document.removeEventListener('visibilitychange', follow)
  }, [setAfter, goOnReading])
}
