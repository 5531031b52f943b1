/**
 * Dialog that starts a conversation. One chosen person starts a direct conversation, several start
 * a group. A second tab creates a channel with a name.
 */
import { limits, type User } from '@chorus/client'
import { useChat } from '@chorus/react'
import { X } from 'lucide-react'
import { useCallback, useState, type FormEvent, type ReactNode } from 'react'
import { attempt, explainError } from '../notices/explain-error.ts'
import { Avatar } from '../people/avatar.tsx'
import { useMe } from '../people/me.tsx'
import { navigate } from '../routing/use-route.ts'
import { Dialog } from '../ui/dialog.tsx'
import { isComposing } from '../ui/keys.ts'
import { readField } from '../ui/read-field.ts'
import { OptionField } from './option-list.tsx'
import { openOverlay } from './overlay.ts'
import { byRank, personSeemsToMatch, rankPerson, useFound } from './use-found.ts'
import '../ui/segments.css'

type Tab = 'people' | 'channel'

/** Maximum number of people that one search at the server returns. */
const peopleMax = 20

export function NewConversationDialog({ onClose }: { readonly onClose: () => void }) {
  const [tab, setTab] = useState<Tab>('people')
  return (
    <Dialog title='New conversation' onClose={onClose}>
      <div className='segments' role='radiogroup' aria-label='Kind of conversation'>
        {(['people', 'channel'] as const).map((name) => (
          <button
            key={name}
            type='button'
            role='radio'
            aria-checked={tab === name}
            className='segment'
            onClick={() => setTab(name)}
          >
            {name === 'people' ? 'People' : 'Channel'}
          </button>
        ))}
      </div>
      {tab === 'people' ? <WithPeople onClose={onClose} /> : <NewChannel onClose={onClose} />}
    </Dialog>
  )
}

function WithPeople({ onClose }: { readonly onClose: () => void }) {
  const chat = useChat()
  const [chosen, setChosen] = useState<readonly User[]>([])
  const [name, setName] = useState('')
  const isGroup = chosen.length > 1

  const begin = (): void => {
    const [first] = chosen
    if (first === undefined) return
    const members = chosen.map(({ id }) => id)
    const named = name.trim() === '' ? {} : { name: name.trim() }
    onClose()
    attempt(
      chat
        .createConversation(isGroup ? { kind: 'group', members, ...named } : { kind: 'direct', members: [first.id] })
        .then(({ id }) => navigate({ at: 'conversation', conversation: id })),
      'Couldn’t start the conversation',
    )
  }

  return (
    <>
      <PeopleField
        label='People'
        placeholder='Type a name'
        chosen={chosen}
        onChosen={setChosen}
        onSubmit={begin}
        between={
          isGroup && (
            <div className='new-group-name'>
              <label className='field'>
                <span className='field-label'>Group name (optional)</span>
                <input
                  className='input'
                  value={name}
                  maxLength={limits.nameMaxChars}
                  onChange={(event) => setName(event.currentTarget.value)}
                  onKeyDown={(event) => event.key === 'Enter' && !isComposing(event.nativeEvent) && begin()}
                />
              </label>
            </div>
          )
        }
      />
      <div className='dialog-footer'>
        <button type='button' className='button button-primary' disabled={chosen.length === 0} onClick={begin}>
          {isGroup ? `Start a group of ${chosen.length + 1}` : 'Start conversation'}
        </button>
      </div>
    </>
  )
}

interface PeopleFieldProps {
  readonly label: string
  readonly placeholder: string
  readonly chosen: readonly User[]
  readonly onChosen: (users: readonly User[]) => void
  readonly onSubmit: () => void
  /** Content shown between the input field and the list of people found. */
  readonly between?: ReactNode
  /** Ids of people who are left out of the list, because they are members already. */
  readonly without?: ReadonlySet<string>
}

/** Field that chooses people. Chosen people appear in the field, found people below it. */
export function PeopleField(props: PeopleFieldProps) {
  const { label, placeholder, chosen, onChosen, onSubmit, between, without } = props
  const chat = useChat()
  const { user: me } = useMe()
  const [query, setQuery] = useState('')
  const search = useCallback(async (q: string) => chat.findUsers(q, peopleMax), [chat])
  const { results, state } = useFound(query.trim(), search, personSeemsToMatch)
  const others = results.filter(({ id }) => id !== me.id)
  const free = others.filter(({ id }) => without?.has(id) !== true && !chosen.some((user) => user.id === id))
  const sorted = query.trim() === '' ? free : byRank(free, (user) => rankPerson(user, query.trim()))
  const first = sorted[0]
  const isExact = first !== undefined && rankPerson(first, query.trim()) === 'exact'
  return (
    <OptionField
      label={label}
      placeholder={chosen.length === 0 ? placeholder : ''}
      value={query}
      onValue={setQuery}
      onErase={() => onChosen(chosen.slice(0, -1))}
      onSubmit={onSubmit}
      between={between}
      isSearching={state === 'searching' || state === 'idle'}
      isCertain={isExact}
      isLitWhenEmpty={false}
      before={chosen.map((user) => (
        <span key={user.id} className='chip'>
          <Avatar id={user.id} name={user.name} picture={user.avatar} sizePx={22} />
          <span className='truncate'>{user.name}</span>
          <button
            type='button'
            className='chip-remove'
            aria-label={`Remove ${user.name}`}
            onClick={() => onChosen(chosen.filter(({ id }) => id !== user.id))}
          >
            <X aria-hidden='true' />
          </button>
        </span>
      ))}
      groups={[
        {
          label: 'People',
          options: sorted.map((user) => ({
            key: user.id,
            label: user.name,
            detail: `@${user.handle}`,
            picture: <Avatar id={user.id} name={user.name} picture={user.avatar} sizePx={32} />,
            onChoose: () => {
              if (chosen.length >= limits.initialMembersMax) return
              onChosen([...chosen, user])
              setQuery('')
            },
          })),
        },
      ]}
      empty={
        state === 'searching' || state === 'idle'
          ? 'Searching…'
          : state === 'failed'
            ? 'Can’t search people right now.'
            : describeNobody(query.trim(), others, without)
      }
    />
  )
}

/**
 * Returns a text that explains why the list of people is empty: no person was found, or everyone
 * found is chosen or a member already.
 */
function describeNobody(query: string, others: readonly User[], without: ReadonlySet<string> | undefined): string {
  if (others.length === 0) return query === '' ? 'No other people yet.' : 'No people found.'
  if (others.every(({ id }) => without?.has(id) === true))
    return query === '' ? 'Everyone is already a member.' : 'Already a member.'
  if (query !== '') return 'Already chosen.'
  return others.length < peopleMax - 1 ? 'Everyone is already chosen.' : 'Type a name to find more people.'
}

function NewChannel({ onClose }: { readonly onClose: () => void }) {
  const chat = useChat()
  const [error, setError] = useState<string>()
  const create = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault()
    const name = readField(new FormData(event.currentTarget), 'name')
    if (name === '') {
      setError('Enter a channel name.')
      return
    }
    try {
      const { id } = await chat.createConversation({ kind: 'channel', name })
      onClose()
      navigate({ at: 'conversation', conversation: id })
    } catch (caught) {
      setError(explainError(caught))
    }
  }
  return (
    <form className='dialog-content' onSubmit={(event) => void create(event)}>
      <div className='field'>
        <label className='field-label' htmlFor='channel-name'>
          Channel name
        </label>
        <input
          id='channel-name'
          name='name'
          className='input'
          placeholder='general'
          maxLength={limits.nameMaxChars}
          autoFocus
          autoComplete='off'
          aria-invalid={error !== undefined}
          aria-describedby='channel-note'
        />
        <p id='channel-note' className={error === undefined ? 'field-hint' : 'field-error'}>
          {error ?? 'Anyone on this server can find and join this channel.'}
        </p>
      </div>
      <div className='dialog-actions'>
        <button type='button' className='button button-plain' onClick={() => openOverlay('browse-channels')}>
          Browse channels
        </button>
        <button type='submit' className='button button-primary'>
          Create channel
        </button>
      </div>
    </form>
  )
}
