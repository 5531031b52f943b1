/**
 * Search dialog for conversations, people, channels and commands (Ctrl-K). Results from this device
 * appear at once, results from the server shortly after.
 */
import type { Conversation, ConversationSummary, User } from '@chorus/client'
import { useChat, useConversations } from '@chorus/react'
import { CircleQuestionMark, Hash, LogOut, Moon, Search, Settings, SquarePen, Sun } from 'lucide-react'
import { useCallback, useState } from 'react'
import { attempt } from '../notices/explain-error.ts'
import { Avatar } from '../people/avatar.tsx'
import { useMe } from '../people/me.tsx'
import { useIsConnected } from '../people/use-shown-presence.ts'
import { useSignOut } from '../people/use-sign-out.ts'
import { setTheme } from '../preferences/theme.ts'
import { navigate } from '../routing/use-route.ts'
import { ConversationAvatar } from '../summary/conversation-avatar.tsx'
import { partnerOf, titleOf } from '../summary/title.ts'
import { Dialog } from '../ui/dialog.tsx'
import { OptionField, type Option, type OptionGroup } from './option-list.tsx'
import { openOverlay } from './overlay.ts'
import { orderOf, rankBest, rankMatch, type Rank } from './rank-match.ts'
import { byRank, channelSeemsToMatch, personSeemsToMatch, rankChannel, rankPerson, useFound } from './use-found.ts'

/**
 * Maximum number of results of one search at the server. Results from this device are not limited.
 */
const askedMax = 20

export function FindDialog({ onClose }: { readonly onClose: () => void }) {
  const chat = useChat()
  const { user: me } = useMe()
  const conversations = useConversations()
  const signOut = useSignOut()
  const [query, setQuery] = useState('')
  const wanted = query.trim()
  const bare = wanted.replace(/^[@#]/, '')

  const findPeople = useCallback(
    async (q: string): Promise<readonly User[]> => (q === '' ? [] : chat.findUsers(q, askedMax)),
    [chat],
  )
  const findChannels = useCallback(
    async (q: string): Promise<readonly Conversation[]> => (q === '' ? [] : chat.findChannels(q, askedMax)),
    [chat],
  )
  const people = useFound(wanted, findPeople, personSeemsToMatch)
  const channels = useFound(wanted, findChannels, channelSeemsToMatch)

  const go = (conversation: string): void => {
    onClose()
    navigate({ at: 'conversation', conversation })
  }
  const after = (action: () => void): (() => void) => {
    return () => {
      onClose()
      action()
    }
  }

  const rankOfMine = (conversation: ConversationSummary): Rank => {
    const partner = partnerOf(conversation, me.id)
    return rankBest([titleOf(conversation, me.id), ...(partner === undefined ? [] : [partner.handle])], bare)
  }
  const mine =
    wanted === ''
      ? conversations
      : byRank(
          conversations.filter((conversation) => rankOfMine(conversation) !== 'none'),
          rankOfMine,
        )
  const partners = new Set(mine.map((conversation) => partnerOf(conversation, me.id)?.id))
  const strangers = byRank(
    people.results.filter(({ id }) => id !== me.id && !partners.has(id)),
    (user) => rankPerson(user, wanted),
  )
  const listed = new Set(mine.map(({ id }) => id))
  const elsewhere = byRank(
    channels.results.filter(({ id }) => !listed.has(id)),
    (channel) => rankChannel(channel, wanted),
  )

  const commands: Option[] = [
    command('New conversation', <SquarePen />, () => openOverlay('new-conversation')),
    command('Browse channels', <Hash />, () => openOverlay('browse-channels')),
    command(
      'Settings',
      <Settings />,
      after(() => navigate({ at: 'settings', section: 'profile' })),
    ),
    command(
      'Light theme',
      <Sun />,
      after(() => setTheme('light')),
    ),
    command(
      'Dark theme',
      <Moon />,
      after(() => setTheme('dark')),
    ),
    command(
      'System theme',
      <Moon />,
      after(() => setTheme('system')),
    ),
    command('Keyboard shortcuts', <CircleQuestionMark />, () => openOverlay('keyboard')),
    command('Sign out', <LogOut />, after(signOut)),
  ]
  const commandsFound = byRank(
    commands.filter(({ label }) => rankMatch(label, wanted) !== 'none'),
    ({ label }) => rankMatch(label, wanted),
  )

  const groups: RankedGroup[] = [
    {
      label: wanted === '' ? 'Recent' : 'Conversations',
      rank: bestOf(mine, rankOfMine),
      options: mine.map((conversation) => ({
        key: conversation.id,
        label: titleOf(conversation, me.id),
        ...(conversation.unread > 0 ? { detail: `${conversation.unread} unread` } : {}),
        picture: <ConversationAvatar conversation={conversation} sizePx={32} />,
        onChoose: () => go(conversation.id),
      })),
    },
    {
      label: 'People',
      rank: bestOf(strangers, (user) => rankPerson(user, wanted)),
      options: strangers.map((user) => ({
        key: user.id,
        label: user.name,
        detail: `@${user.handle}`,
        picture: <Avatar id={user.id} name={user.name} picture={user.avatar} sizePx={32} />,
        onChoose: after(() =>
          attempt(
            chat
              .createConversation({ kind: 'direct', members: [user.id] })
              .then(({ id }) => navigate({ at: 'conversation', conversation: id })),
            'Couldn’t open the conversation',
          ),
        ),
      })),
    },
    {
      label: 'Channels',
      rank: bestOf(elsewhere, (channel) => rankChannel(channel, wanted)),
      options: elsewhere.map((channel) => ({
        key: channel.id,
        label: channel.name ?? 'Channel',
        detail: channel.role === null ? 'Join' : '',
        picture: <ConversationAvatar conversation={channel} sizePx={32} />,
        onChoose: after(() =>
          attempt(
            chat.joinChannel(channel.id).then(() => navigate({ at: 'conversation', conversation: channel.id })),
            'Couldn’t join',
          ),
        ),
      })),
    },
    {
      label: 'Commands',
      rank: bestOf(commandsFound, ({ label }) => rankMatch(label, wanted)),
      options: wanted === '' ? commands.slice(0, 3) : commandsFound,
    },
  ]
  // Put the group with the best match first, because Enter opens the first result. Groups of equal
  // rank keep their order.
  if (wanted !== '') groups.sort((left, right) => left.rank - right.rank)

  // Without a connection the server cannot respond, so Enter chooses among the results from this
  // device.
  const isConnected = useIsConnected()
  const isSearching = people.state === 'searching' || channels.state === 'searching'
  const hasFailed = people.state === 'failed' || channels.state === 'failed'
  return (
    <Dialog title='Find' look='palette' onClose={onClose}>
      <OptionField
        label='Find people, channels and commands'
        placeholder='Find people, channels and commands'
        value={query}
        onValue={setQuery}
        groups={groups}
        isSearching={isSearching && isConnected && wanted !== ''}
        isCertain={groups[0]?.rank === orderOf('exact')}
        before={<Search aria-hidden='true' />}
        empty={
          isSearching
            ? 'Searching…'
            : hasFailed
              ? 'Can’t search people and channels right now.'
              : `Nothing found for “${wanted}”.`
        }
      />
    </Dialog>
  )
}

function command(label: string, picture: Option['picture'], onChoose: () => void): Option {
  return { key: `command-${label.replace(/\s/g, '-')}`, label, picture, onChoose }
}

interface RankedGroup extends OptionGroup {
  /** Rank of the best result in the group. Lower is better. */
  readonly rank: number
}

function bestOf<Result>(results: readonly Result[], rank: (result: Result) => Rank): number {
  const [first] = results
  return orderOf(first === undefined ? 'none' : rank(first))
}
