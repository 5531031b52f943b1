/**
 * Avatar of a conversation. A direct conversation shows the other person with their presence; a
 * group or channel shows two letters on its own colour. The shape of the avatar shows which of the
 * three kinds it is.
 */
import type { ConversationSummary } from '@chorus/client'
import { Avatar, personHue } from '../people/avatar.tsx'
import { lettersOf } from '../people/identity.ts'
import { useMe } from '../people/me.tsx'
import { useShownPresence } from '../people/use-shown-presence.ts'
import { partnerOf, titleOf } from './title.ts'

interface ConversationAvatarProps {
  readonly conversation: Pick<ConversationSummary, 'id' | 'kind' | 'name' | 'members' | 'memberCount'>
  readonly sizePx: number
}

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
