/**
 * One row of the conversation list: avatar, title, the last message or the members who are typing,
 * time, and number of unread messages.
 */
import type { ConversationSummary, OutboxItem } from '@chorus/client'
import { useUser } from '@chorus/react'
import { CircleAlert, Clock3 } from 'lucide-react'
import { memo, useSyncExternalStore } from 'react'
import { useMe } from '../people/me.tsx'
import { useShownTyping } from '../people/use-shown-presence.ts'
import { Link } from '../routing/link.tsx'
import { ConversationAvatar } from '../summary/conversation-avatar.tsx'
import { describeMessage, formatCount, titleOf } from '../summary/title.ts'
import { TypingNames } from '../summary/typing-names.tsx'
import { excerpt } from '../text/plain-text.ts'
import { formatBrief, formatFull } from '../time/format-time.ts'
import { useNow } from '../time/use-now.ts'
import { activityOf } from './listed.ts'

interface ConversationListItemProps {
  readonly conversation: ConversationSummary
  /** The user's newest message in the outbox that the server has not acknowledged. */
  readonly waiting: OutboxItem | undefined
  readonly isOpen: boolean
}

export const ConversationListItem = memo(function ConversationListItem({
  conversation,
  waiting,
  isOpen,
}: ConversationListItemProps) {
  const { user: me } = useMe()
  const now = useNow()
  const activeAt = activityOf({ conversation, waiting })
  const title = titleOf(conversation, me.id)
  const { unread } = conversation
  return (
    <Link
      to={{ at: 'conversation', conversation: conversation.id }}
      className='conversation-item'
      aria-current={isOpen ? 'page' : undefined}
      data-unread={unread > 0}
      title={title}
      draggable={false}
    >
      <ConversationAvatar conversation={conversation} sizePx={44} />
      <span className='conversation-item-text'>
        <span className='conversation-item-line'>
          <span className='conversation-item-title truncate'>{title}</span>
          <time className='conversation-item-time' dateTime={activeAt} title={formatFull(activeAt, { now })}>
            {formatBrief(activeAt, { now })}
          </time>
        </span>
        <span className='conversation-item-line'>
          <LastLine conversation={conversation} waiting={waiting} isOpen={isOpen} />
          {unread > 0 && (
            <span className='badge'>
              {formatCount(unread)}
              <span className='hidden-visually'> unread</span>
            </span>
          )}
        </span>
      </span>
    </Link>
  )
})

function LastLine({ conversation, waiting, isOpen }: ConversationListItemProps) {
  const { user: me, drafts } = useMe()
  const typing = useShownTyping(conversation.id)
  const draft = useSyncExternalStore(drafts.subscribe, () => drafts.read(conversation.id))
  const { lastMessage } = conversation
  if (typing.length > 0) return <TypingNames users={typing} isNamed={conversation.kind !== 'direct'} />
  if (!isOpen && draft.text.trim() !== '') {
    return (
      <span className='conversation-item-last truncate'>
        <span className='conversation-item-draft'>Draft: </span>
        {excerpt(draft.text)}
      </span>
    )
  }
  if (waiting !== undefined) {
    const hasFailed = waiting.status.state === 'failed'
    return (
      <span className='conversation-item-last truncate' data-waiting={waiting.status.state}>
        {hasFailed ? <CircleAlert role='img' aria-label='Not sent' /> : <Clock3 role='img' aria-label='Sending' />}
        You: {excerpt(waiting.draft.text)}
      </span>
    )
  }
  if (lastMessage === null) return <span className='conversation-item-last truncate'>No messages yet</span>
  const isMine = lastMessage.sender === me.id
  return (
    <span className='conversation-item-last truncate'>
      {isMine && 'You: '}
      {!isMine && conversation.kind !== 'direct' && <SenderName id={lastMessage.sender} />}
      {describeMessage(lastMessage)}
    </span>
  )
}

function SenderName({ id }: { readonly id: string }) {
  const user = useUser(id)
  return user === undefined ? null : <>{user.name.split(/\s+/)[0]}: </>
}
