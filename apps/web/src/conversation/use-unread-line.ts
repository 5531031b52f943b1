/**
 * The unread line: the place before the first message that was unread when the user began to read.
 * The line stays while the user reads. It is decided again when this device has caught up, and when
 * the user returns to the page.
 */
import type { ConversationSummary } from '@chorus/client'
import { useCallback, useEffect, useRef, useState, type Dispatch, type SetStateAction } from 'react'
import { flushSync } from 'react-dom'
import type { ListScroller } from './message-list-scroller.ts'
import type { AimState } from './use-aim.ts'

export interface UnreadLine {
  /** Seq of the message before the line. Undefined without a line. */
  readonly after: number | undefined
  readonly setAfter: Dispatch<SetStateAction<number | undefined>>
  /** Whether the set of unread messages is certain: only after this device has caught up. */
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
 * Continues at the first unread message when this device has caught up, and when the user returns
 * to the page.
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
      // Render synchronously, or the next frame would mark the end as read.
      else flushSync(goOnReading)
    }
    document.addEventListener('visibilitychange', follow)
    return () => document.removeEventListener('visibilitychange', follow)
  }, [setAfter, goOnReading])
}
