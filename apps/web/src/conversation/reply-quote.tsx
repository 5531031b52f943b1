/**
 * One-line quote of the message to which another message replies. A press on the quote scrolls to
 * that message. Fetches it from the server if it is not loaded.
 */
import { useUser } from '@chorus/react'
import { personHue } from '../people/avatar.tsx'
import { useMessageActions } from './message-actions.ts'
import { describeFound, useMessage } from './use-message.ts'

interface ReplyQuoteProps {
  readonly conversation: string
  readonly seq: number
}

export function ReplyQuote({ conversation, seq }: ReplyQuoteProps) {
  const { find, jumpTo } = useMessageActions()
  const found = useMessage(conversation, seq, find(seq))
  const message = found === 'missing' ? undefined : found
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
      <span className='quote-text truncate'>{describeFound(found)}</span>
    </button>
  )
}
