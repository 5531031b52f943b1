/**
 * List of public channels for a user without conversations; one click joins a channel. Shows
 * nothing if there are no channels or they cannot be loaded.
 */
import type { Conversation } from '@chorus/client'
import { useChat, useConnection } from '@chorus/react'
import { useEffect, useState } from 'react'
import { attempt } from '../notices/explain-error.ts'
import { navigate } from '../routing/use-route.ts'
import { ConversationAvatar } from '../summary/conversation-avatar.tsx'
import { countMembers } from '../summary/title.ts'

/** Maximum number of channels shown. The dialog "Browse channels" lists all of them. */
const channelsMax = 5

export function JoinableChannels() {
  const chat = useChat()
  const isOnline = useConnection().state === 'ready'
  const [channels, setChannels] = useState<readonly Conversation[]>([])
  useEffect(() => {
    if (!isOnline) return
    let isWanted = true
    chat.findChannels('', channelsMax).then(
      (found) => isWanted && setChannels(found.filter(({ role }) => role === null)),
      () => undefined,
    )
    return () => {
      isWanted = false
    }
  }, [chat, isOnline])
  if (channels.length === 0) return null
  const join = (channel: Conversation): void =>
    attempt(
      chat.joinChannel(channel.id).then(() => navigate({ at: 'conversation', conversation: channel.id })),
      'Couldn’t join',
    )
  return (
    <ul className='home-channels' aria-label='Channels to join'>
      {channels.map((channel) => (
        <li key={channel.id}>
          <ConversationAvatar conversation={channel} sizePx={32} />
          <span className='home-channel'>
            <span className='home-channel-name'>{channel.name ?? 'Channel'}</span>
            <span className='secondary'>{countMembers(channel.memberCount)}</span>
          </span>
          <button
            type='button'
            className='button'
            aria-label={`Join ${channel.name ?? 'the channel'}`}
            onClick={() => join(channel)}
          >
            Join
          </button>
        </li>
      ))}
    </ul>
  )
}
