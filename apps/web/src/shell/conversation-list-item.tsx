/** One conversation in the list: who, the last line or who is typing, when, and how much is unread. */
import type { ConversationSummary } from '@chorus/client'
import { usePresence, useTyping, useUser } from '@chorus/react'
import { Hash, UsersRound } from 'lucide-react'
import { memo, useSyncExternalStore } from 'react'
import { describeMessage, describeTyping, formatCount, partnerOf, titleOf } from '../conversation/title.ts'
import { Avatar, personHue } from '../people/avatar.tsx'
import { Link } from '../routing/link.tsx'
import { excerpt } from '../text/plain-text.ts'
import { formatBrief, formatFull } from '../time/format-time.ts'
import { useNow } from '../time/use-now.ts'
import { useMe } from './me.tsx'

interface ConversationListItemProps {
  readonly conversation: ConversationSummary
  readonly isOpen: boolean
}

export const ConversationListItem = memo(function ConversationListItem({
  conversation,
  isOpen,
}: ConversationListItemProps) {
  const { user: me } = useMe()
  const now = useNow()
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
          <time
            className='conversation-item-time'
            dateTime={conversation.activeAt}
            title={formatFull(conversation.activeAt, { now })}
          >
            {formatBrief(conversation.activeAt, { now })}
          </time>
        </span>
        <span className='conversation-item-line'>
          <LastLine conversation={conversation} isOpen={isOpen} />
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

function LastLine({ conversation, isOpen }: ConversationListItemProps) {
  const { user: me, drafts } = useMe()
  const typing = useTyping(conversation.id)
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

/** At most two people are named; the hooks of a component may not grow with a list. */
export function TypingNames({ users, isNamed }: { readonly users: readonly string[]; readonly isNamed: boolean }) {
  const first = useUser(users[0])
  const second = useUser(users[1])
  const names = users.map((_id, index) => [first, second][index]?.name.split(/\s+/)[0] ?? 'Somebody')
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

/** The other person with their presence, or what kind of conversation it is. */
export function ConversationAvatar({ conversation, sizePx }: ConversationAvatarProps) {
  const { user: me } = useMe()
  const partner = partnerOf(conversation, me.id)
  const presence = usePresence(partner?.id)
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
  return (
    <span
      className='avatar avatar-symbol'
      style={{ ...personHue(conversation.id), width: sizePx, height: sizePx }}
      aria-hidden='true'
    >
      {conversation.kind === 'channel' ? <Hash /> : <UsersRound />}
    </span>
  )
}
