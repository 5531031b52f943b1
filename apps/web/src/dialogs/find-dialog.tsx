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
  const [query, setQuery] = useState('')
  const wanted = query.trim()
  const { mine, people, channels, state } = useResults(wanted)
  const commands = useCommands(onClose)
  const toOption = useOptions(onClose)

  const commandsFound = byRank(
    commands.filter(({ label }) => rankMatch(label, wanted) !== 'none'),
    ({ label }) => rankMatch(label, wanted),
  )
  const groups: RankedGroup[] = [
    { label: wanted === '' ? 'Recent' : 'Conversations', rank: mine.rank, options: mine.results.map(toOption.mine) },
    { label: 'People', rank: people.rank, options: people.results.map(toOption.person) },
    { label: 'Channels', rank: channels.rank, options: channels.results.map(toOption.channel) },
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
  return (
    <Dialog title='Find' look='palette' onClose={onClose}>
      <OptionField
        label='Find people, channels and commands'
        placeholder='Find people, channels and commands'
        value={query}
        onValue={setQuery}
        groups={groups}
        isSearching={state === 'searching' && isConnected && wanted !== ''}
        isCertain={groups[0]?.rank === orderOf('exact')}
        before={<Search aria-hidden='true' />}
        empty={
          state === 'searching'
            ? 'Searching…'
            : state === 'failed'
              ? 'Can’t search people and channels right now.'
              : `Nothing found for “${wanted}”.`
        }
      />
    </Dialog>
  )
}

interface Ranked<Result> {
  readonly results: readonly Result[]
  /** Rank of the best result. Lower is better. */
  readonly rank: number
}

interface Results {
  /** Conversations of the user. All of them while nothing is typed. */
  readonly mine: Ranked<ConversationSummary>
  /** People who have no direct conversation with the user in this list. */
  readonly people: Ranked<User>
  /** Channels that are not among these conversations. */
  readonly channels: Ranked<Conversation>
  readonly state: 'searching' | 'failed' | 'done'
}

/** Searches on this device and at the server. Renders again when results arrive. */
function useResults(wanted: string): Results {
  const chat = useChat()
  const { user: me } = useMe()
  const conversations = useConversations()
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

  const bare = wanted.replace(/^[@#]/, '')
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
  const listed = new Set(mine.map(({ id }) => id))
  const states = [people.state, channels.state]
  return {
    mine: { results: mine, rank: bestOf(mine, rankOfMine) },
    people: ranked(
      people.results.filter(({ id }) => id !== me.id && !partners.has(id)),
      (user) => rankPerson(user, wanted),
    ),
    channels: ranked(
      channels.results.filter(({ id }) => !listed.has(id)),
      (channel) => rankChannel(channel, wanted),
    ),
    state: states.includes('searching') ? 'searching' : states.includes('failed') ? 'failed' : 'done',
  }
}

function ranked<Result>(found: readonly Result[], rank: (result: Result) => Rank): Ranked<Result> {
  const results = byRank(found, rank)
  return { results, rank: bestOf(results, rank) }
}

interface Options {
  readonly mine: (conversation: ConversationSummary) => Option
  readonly person: (user: User) => Option
  readonly channel: (channel: Conversation) => Option
}

/** Returns functions that turn results into options. Choosing an option opens its conversation. */
function useOptions(onClose: () => void): Options {
  const chat = useChat()
  const { user: me } = useMe()
  const open = (conversation: string): void => navigate({ at: 'conversation', conversation })
  return {
    mine: (conversation) => ({
      key: conversation.id,
      label: titleOf(conversation, me.id),
      ...(conversation.unread > 0 ? { detail: `${conversation.unread} unread` } : {}),
      picture: <ConversationAvatar conversation={conversation} sizePx={32} />,
      onChoose: () => {
        onClose()
        open(conversation.id)
      },
    }),
    person: (user) => ({
      key: user.id,
      label: user.name,
      detail: `@${user.handle}`,
      picture: <Avatar id={user.id} name={user.name} picture={user.avatar} sizePx={32} />,
      onChoose: () => {
        onClose()
        const created = chat.createConversation({ kind: 'direct', members: [user.id] })
        attempt(
          created.then(({ id }) => open(id)),
          'Couldn’t open the conversation',
        )
      },
    }),
    channel: (channel) => ({
      key: channel.id,
      label: channel.name ?? 'Channel',
      detail: channel.role === null ? 'Join' : '',
      picture: <ConversationAvatar conversation={channel} sizePx={32} />,
      onChoose: () => {
        onClose()
        const joined = chat.joinChannel(channel.id)
        attempt(
          joined.then(() => open(channel.id)),
          'Couldn’t join',
        )
      },
    }),
  }
}

/** Returns the commands of the application. A command that opens no other overlay closes the dialog. */
function useCommands(onClose: () => void): readonly Option[] {
  const signOut = useSignOut()
  const after = (action: () => void) => (): void => {
    onClose()
    action()
  }
  const openSettings = after(() => navigate({ at: 'settings', section: 'profile' }))
  return [
    command('New conversation', <SquarePen />, () => openOverlay('new-conversation')),
    command('Browse channels', <Hash />, () => openOverlay('browse-channels')),
    command('Settings', <Settings />, openSettings),
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
