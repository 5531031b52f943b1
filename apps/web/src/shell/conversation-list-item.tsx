/**
 * One row of the conversation list: avatar, title, last message or typing members, time, and unread
 * count.
 */
import type { ConversationSummary, OutboxItem } from '@chorus/client'
import { useUser } from '@chorus/react'
import { CircleAlert, Clock3 } from 'lucide-react'
import { memo, useSyncExternalStore } from 'react'
import { describeMessage, describeTyping, formatCount, partnerOf, titleOf } from '../conversation/title.ts'
import { Avatar, personHue } from '../people/avatar.tsx'
import { lettersOf } from '../people/identity.ts'
import { Link } from '../routing/link.tsx'
import { excerpt } from '../text/plain-text.ts'
import { formatBrief, formatFull } from '../time/format-time.ts'
import { useNow } from '../time/use-now.ts'
import { activityOf } from './listed.ts'
import { useMe } from './me.tsx'
import { useShownPresence, useShownTyping } from './use-shown-presence.ts'

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

/**
 * Names at most two people, because the number of hooks in a component must not vary with a list.
 */
export function TypingNames({ users, isNamed }: { readonly users: readonly string[]; readonly isNamed: boolean }) {
  const first = useUser(users[0])
  const second = useUser(users[1])
  const names = users.map((_id, index) => [first, second][index]?.name.split(/\s+/)[0] ?? 'Someone')
  return (
    <span className='typing-text truncate'>
      {isNamed ? describeTyping(names) : 'typing'}
      <span className='typing-dots' aria-hidden='true'>
        <span />
        <span />
        <span />
      </span>
    </span>
  )
}

interface ConversationAvatarProps {
  readonly conversation: Pick<ConversationSummary, 'id' | 'kind' | 'name' | 'members' | 'memberCount'>
  readonly sizePx: number
}

/**
 * Avatar of a conversation: the other person with their presence, or the letters of a group or
 * channel on its own colour. The shape shows the kind of conversation.
 */
export function ConversationAvatar({ conversation, sizePx }: ConversationAvatarProps) {
  const { user: me } = useMe()
  const partner = partnerOf(conversation, me.id)
  const presence = useShownPresence(partner?.id)
  if (partner !== undefined) {
    return (
      <>
        <Avatar
          id={partner.id}
          name={partner.name}
          picture={partner.avatar}
          sizePx={sizePx}
          presence={presence?.status}
        />
        {(presence?.status === 'online' || presence?.status === 'away') && (
          <span className='hidden-visually'>{presence.status}</span>
        )}
      </>
    )
  }
  const title = titleOf(conversation, me.id)
  return (
    <span
      className='avatar avatar-shared'
      data-kind={conversation.kind}
      style={{ ...personHue(conversation.id), width: sizePx, height: sizePx, fontSize: Math.round(sizePx * 0.36) }}
      aria-hidden='true'
    >
      <span className='avatar-initials' data-initials={lettersOf(title)} />
      {conversation.kind === 'channel' && <span className='avatar-sign' data-sign='#' />}
    </span>
  )
}
