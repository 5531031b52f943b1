/** Dialog that lists public channels, to search, join and open them. */
import type { Conversation } from '@chorus/client'
import { useChat } from '@chorus/react'
import { Search } from 'lucide-react'
import { useCallback, useState } from 'react'
import { attempt } from '../notices/explain-error.ts'
import { navigate } from '../routing/use-route.ts'
import { ConversationAvatar } from '../summary/conversation-avatar.tsx'
import { countMembers } from '../summary/title.ts'
import { Dialog } from '../ui/dialog.tsx'
import { OptionField } from './option-list.tsx'
import { byRank, channelSeemsToMatch, rankChannel, useFound } from './use-found.ts'

export function BrowseChannelsDialog({ onClose }: { readonly onClose: () => void }) {
  const chat = useChat()
  const [query, setQuery] = useState('')
  const search = useCallback(async (q: string) => chat.findChannels(q, 50), [chat])
  const found = useFound(query.trim(), search, channelSeemsToMatch)
  const { state } = found
  const results = query.trim() === '' ? found.results : byRank(found.results, (one) => rankChannel(one, query))

  const open = (channel: Conversation): void => {
    onClose()
    const joined = channel.role === null ? chat.joinChannel(channel.id) : Promise.resolve()
    attempt(
      joined.then(() => navigate({ at: 'conversation', conversation: channel.id })),
      'Couldn’t join',
    )
  }
  const option = (channel: Conversation) => ({
    key: channel.id,
    label: channel.name ?? 'Channel',
    detail: countMembers(channel.memberCount),
    picture: <ConversationAvatar conversation={channel} sizePx={32} />,
    onChoose: () => open(channel),
  })

  return (
    <Dialog title='Browse channels' onClose={onClose}>
      <OptionField
        label='Find a channel'
        placeholder='Find a channel'
        value={query}
        onValue={setQuery}
        before={<Search aria-hidden='true' />}
        isSearching={state === 'searching' || state === 'idle'}
        groups={[
          { label: 'Channels to join', options: results.filter(({ role }) => role === null).map(option) },
          { label: 'Your channels', options: results.filter(({ role }) => role !== null).map(option) },
        ]}
        empty={
          state === 'failed'
            ? 'Can’t load channels right now.'
            : state === 'done'
              ? query.trim() === ''
                ? 'No channels yet.'
                : 'No channels found.'
              : 'Loading…'
        }
      />
    </Dialog>
  )
}
