/**
 * Announces new messages of other members in the open conversation to screen readers. Messages that
 * were there when the conversation was opened are not announced.
 */
import type { TimelineView } from '@chorus/client'
import { useChat, useUser } from '@chorus/react'
import { useEffect, useRef, useState } from 'react'
import { describeMessage } from '../summary/title.ts'

interface Announcement {
  readonly seq: number
  readonly text: string
}

// Maximum number of announcements on the page. Each message gets its own paragraph: if a new text
// replaced the old one, a screen reader would not read a message with the same text.
const announcementsMax = 5

export function LiveAnnouncer({ view }: { readonly view: TimelineView }) {
  const chat = useChat()
  const newest = view.items.findLast((item) => item.kind === 'message')
  const message = newest?.kind === 'message' ? newest.message : undefined
  const isNamed = useUser(message?.sender) !== undefined
  const announcedSeq = useRef<number>(undefined)
  const [announcements, setAnnouncements] = useState<readonly Announcement[]>([])

  useEffect(() => {
    if (!view.isLoaded || view.hasNewer) return
    const seq = message?.seq ?? 0
    const before = announcedSeq.current
    if (before === undefined) {
      announcedSeq.current = seq
      return
    }
    // Wait until the name of the sender is loaded, because the announcement contains it.
    if (seq <= before || !isNamed) return
    announcedSeq.current = seq
    const fresh = view.items.slice(-announcementsMax).flatMap((item) => {
      if (item.kind !== 'message' || item.isMine || item.message.seq <= before) return []
      const name = chat.users.observe(item.message.sender).get()?.name ?? ''
      return [{ seq: item.message.seq, text: `${name}: ${describeMessage(item.message)}` }]
    })
    if (fresh.length > 0) setAnnouncements((shown) => [...shown, ...fresh].slice(-announcementsMax))
  }, [chat, view, message, isNamed])

  return (
    <div className='hidden-visually' role='log' aria-live='polite' aria-label='New messages'>
      {announcements.map(({ seq, text }) => (
        <p key={seq}>{text}</p>
      ))}
    </div>
  )
}
