/** One line of the message that is answered; a press goes there. Asks the server for it when it is not loaded. */
import type { PageMessage } from '@chorus/client'
import { useChat, useUser } from '@chorus/react'
import { useEffect, useState } from 'react'
import { personHue } from '../people/avatar.tsx'
import { useMessageActions } from './message-actions.ts'
import { describeMessage } from './title.ts'

interface ReplyQuoteProps {
  readonly conversation: string
  readonly seq: number
}

export function ReplyQuote({ conversation, seq }: ReplyQuoteProps) {
  const chat = useChat()
  const { find, jumpTo } = useMessageActions()
  const loaded = find(seq)
  const [fetched, setFetched] = useState<PageMessage | 'missing'>()
  const isNeeded = loaded === undefined && fetched === undefined

  useEffect(() => {
    if (!isNeeded) return
    let isWanted = true
    chat
      .conversation(conversation)
      .messages.get(seq)
      .then((message) => isWanted && setFetched(message))
      .catch(() => isWanted && setFetched('missing'))
    return () => {
      isWanted = false
    }
  }, [chat, conversation, seq, isNeeded])

  const message = loaded ?? (fetched === 'missing' ? undefined : fetched)
  const sender = useUser(message?.sender)
  return (
    <button
      type='button'
      className='quote'
      tabIndex={-1}
      style={message === undefined ? undefined : personHue(message.sender)}
      onClick={() => jumpTo(seq)}
    >
      <span className='hidden-visually'>In reply to </span>
      <span className='quote-name truncate'>{sender?.name ?? '…'}</span>
      <span className='quote-text truncate'>
        {message === undefined ? (fetched === 'missing' ? 'Message not available' : '…') : describeMessage(message)}
      </span>
    </button>
  )
}
