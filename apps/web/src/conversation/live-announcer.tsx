/** Tells a screen reader, politely, what others write in the open conversation; nothing of what was there before. */
import type { TimelineView } from '@chorus/client'
import { useUser } from '@chorus/react'
import { useEffect, useRef, useState } from 'react'
import { describeMessage } from './title.ts'

export function LiveAnnouncer({ view }: { readonly view: TimelineView }) {
  const newest = view.items.findLast((item) => item.kind === 'message')
  const message = newest?.kind === 'message' ? newest.message : undefined
  const name = useUser(message?.sender)?.name
  const announcedSeq = useRef<number>(undefined)
  const [text, setText] = useState('')

  useEffect(() => {
    if (!view.isLoaded || view.hasNewer) return
    const seq = message?.seq ?? 0
    const before = announcedSeq.current
    if (before === undefined) {
      announcedSeq.current = seq
      return
    }
    if (message === undefined || seq <= before || (name === undefined && newest?.kind === 'message' && !newest.isMine))
      return
    announcedSeq.current = seq
    if (newest?.kind === 'message' && newest.isMine) return
    setText(`${name ?? ''}: ${describeMessage(message)}`)
  }, [view.isLoaded, view.hasNewer, message, newest, name])

  return (
    <p className='hidden-visually' role='log' aria-live='polite' aria-label='New messages'>
      {text}
    </p>
  )
}
