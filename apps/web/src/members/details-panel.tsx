/**
 * Panel with the details of a conversation: its name, and its members with their roles. In the
 * panel, members are added and removed, and the user can leave.
 */
import type { ConversationSummary, Member, Role } from '@chorus/client'
import { useChat, useMembers } from '@chorus/react'
import { Ellipsis, LogOut, Pencil, UserPlus, X } from 'lucide-react'
import { useState, type FormEvent } from 'react'
import { PeopleField } from '../dialogs/new-conversation-dialog.tsx'
import { attempt } from '../notices/explain-error.ts'
import { Avatar } from '../people/avatar.tsx'
import { describePresence } from '../people/describe-presence.ts'
import { useMe } from '../people/me.tsx'
import { useIsConnected, useShownPresence } from '../people/use-shown-presence.ts'
import { useBackToClose } from '../routing/back-layers.ts'
import { navigate } from '../routing/use-route.ts'
import { ConversationAvatar } from '../summary/conversation-avatar.tsx'
import { countMembers, partnerOf, titleOf } from '../summary/title.ts'
import { useNow } from '../time/use-now.ts'
import { Dialog } from '../ui/dialog.tsx'
import { IconButton } from '../ui/icon-button.tsx'
import { Menu, type MenuItem } from '../ui/menu.tsx'
import { readField } from '../ui/read-field.ts'
import '../people/person-row.css'
import './details-panel.css'

interface DetailsPanelProps {
  readonly summary: ConversationSummary
  readonly onClose: () => void
}

const roleLabels: Record<Role, string> = { owner: 'Owner', moderator: 'Moderator', member: '' }

export function DetailsPanel({ summary, onClose }: DetailsPanelProps) {
  const chat = useChat()
  const { user: me } = useMe()
  const members = useMembers(summary.id)
  useBackToClose(onClose)
  const [asking, setAsking] = useState<'nothing' | 'add' | 'leave'>('nothing')
  const isDirect = summary.kind === 'direct'
  const canManage = !isDirect && (summary.role === 'owner' || summary.role === 'moderator')

  const leave = (): void => {
    setAsking('nothing')
    attempt(
      chat.leave(summary.id).then(() => navigate({ at: 'home' }, { replace: true })),
      'Couldn’t leave',
    )
  }

  return (
    <aside className='panel' aria-label='Details'>
      <header className='panel-header'>
        <h2>Details</h2>
        <IconButton label='Close details' onClick={onClose} autoFocus>
          <X />
        </IconButton>
      </header>
      <div className='panel-content scrolls'>
        <div className='panel-about'>
          <ConversationAvatar conversation={summary} sizePx={72} />
          {canManage ? (
            <NameField key={summary.name} summary={summary} />
          ) : (
            <p className='panel-name'>{titleOf(summary, me.id)}</p>
          )}
          <About summary={summary} />
        </div>
        {!isDirect && (
          <section aria-label='Members'>
            <div className='panel-section'>
              <h3>{countMembers(summary.memberCount)}</h3>
              {(canManage || summary.kind === 'group') && (
                <button type='button' className='button button-plain panel-add' onClick={() => setAsking('add')}>
                  <UserPlus aria-hidden='true' />
                  Add
                </button>
              )}
            </div>
            {members === undefined ? (
              <div className='appears-late secondary panel-loading'>Loading members…</div>
            ) : (
              <ul>
                {members.map((member) => (
                  <MemberRow key={member.user.id} member={member} summary={summary} />
                ))}
              </ul>
            )}
            <button type='button' className='button button-danger panel-leave' onClick={() => setAsking('leave')}>
              <LogOut aria-hidden='true' />
              Leave {summary.kind}
            </button>
          </section>
        )}
      </div>
      {asking === 'add' && (
        <AddMembersDialog
          summary={summary}
          present={new Set(members?.map(({ user }) => user.id))}
          onClose={() => setAsking('nothing')}
        />
      )}
      {asking === 'leave' && (
        <Dialog title={`Leave ${titleOf(summary, me.id)}?`} onClose={() => setAsking('nothing')}>
          <div className='dialog-content'>
            <p>
              {summary.kind === 'channel'
                ? 'You can join again at any time.'
                : 'You won’t see this group again unless a member adds you.'}
            </p>
            <div className='dialog-actions'>
              <button type='button' className='button' data-autofocus onClick={() => setAsking('nothing')}>
                Cancel
              </button>
              <button type='button' className='button button-danger' onClick={leave}>
                Leave
              </button>
            </div>
          </div>
        </Dialog>
      )}
    </aside>
  )
}

function About({ summary }: { readonly summary: ConversationSummary }) {
  const { user: me } = useMe()
  const partner = partnerOf(summary, me.id)
  const presence = useShownPresence(partner?.id)
  const now = useNow()
  if (partner === undefined) {
    return <p className='secondary small'>{summary.kind === 'channel' ? 'Public channel' : 'Group'}</p>
  }
  return (
    <p className='secondary small'>
      @{partner.handle} · {describePresence(presence, now).trim() || 'Presence unknown'}
    </p>
  )
}

function NameField({ summary }: { readonly summary: ConversationSummary }) {
  const chat = useChat()
  const { user: me } = useMe()
  const [isEditing, setIsEditing] = useState(false)
  const rename = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault()
    const name = readField(new FormData(event.currentTarget), 'name')
    setIsEditing(false)
    if (name !== '' && name !== summary.name) attempt(chat.rename(summary.id, name), 'Couldn’t rename')
  }
  if (!isEditing) {
    return (
      <p className='panel-name'>
        {titleOf(summary, me.id)}
        <IconButton label='Rename' onClick={() => setIsEditing(true)}>
          <Pencil />
        </IconButton>
      </p>
    )
  }
  return (
    <form className='panel-rename' onSubmit={rename}>
      <input
        className='input'
        name='name'
        aria-label='Name'
        defaultValue={summary.name ?? ''}
        maxLength={100}
        autoFocus
        onKeyDown={(event) => {
          if (event.key !== 'Escape') return
          event.preventDefault()
          setIsEditing(false)
        }}
      />
      <button type='submit' className='button button-primary'>
        Save
      </button>
    </form>
  )
}

function MemberRow({ member, summary }: { readonly member: Member; readonly summary: ConversationSummary }) {
  const chat = useChat()
  const { user: me } = useMe()
  const presence = useShownPresence(member.user.id)
  const now = useNow()
  const [anchor, setAnchor] = useState<Element | null>(null)
  const { user, role } = member
  const isMe = user.id === me.id
  const isConnected = useIsConnected()
  const items = isMe ? [] : memberActions()

  function memberActions(): MenuItem[] {
    const setRole = (to: Role) => () => attempt(chat.setRole(summary.id, user.id, to), 'Couldn’t change the role')
    const write: MenuItem = {
      label: 'Send a message',
      onSelect: () =>
        attempt(
          chat
            .createConversation({ kind: 'direct', members: [user.id] })
            .then(({ id }) => navigate({ at: 'conversation', conversation: id })),
          'Couldn’t open the conversation',
        ),
    }
    const isOwner = summary.role === 'owner'
    const canRemove = isOwner || (summary.role === 'moderator' && role === 'member')
    return [
      write,
      ...(isOwner && role !== 'owner' ? [{ label: 'Make owner', onSelect: setRole('owner') }] : []),
      ...(isOwner && role !== 'moderator' ? [{ label: 'Make moderator', onSelect: setRole('moderator') }] : []),
      ...(isOwner && role !== 'member' ? [{ label: 'Make member', onSelect: setRole('member') }] : []),
      ...(canRemove
        ? [
            {
              label: `Remove from ${summary.kind}`,
              danger: true,
              onSelect: () => attempt(chat.removeMember(summary.id, user.id), 'Couldn’t remove the member'),
            },
          ]
        : []),
    ]
  }

  return (
    <li className='member' data-testid='member'>
      <Avatar
        id={user.id}
        name={user.name}
        picture={user.avatar}
        sizePx={36}
        presence={isMe && isConnected ? 'online' : presence?.status}
      />
      <div className='member-text'>
        <p className='truncate'>
          {user.name}
          {isMe && <span className='secondary'> (you)</span>}
        </p>
        <p className='secondary small truncate'>
          @{user.handle}
          {!isMe && presence?.status === 'online' && ` · ${describePresence(presence, now)}`}
        </p>
      </div>
      {roleLabels[role] !== '' && <span className='member-role'>{roleLabels[role]}</span>}
      {items.length > 0 && (
        <IconButton
          label={`Actions for ${user.name}`}
          aria-haspopup='menu'
          aria-expanded={anchor !== null}
          onClick={(event) => setAnchor(anchor === null ? event.currentTarget : null)}
        >
          <Ellipsis />
        </IconButton>
      )}
      {anchor !== null && (
        <Menu label={`Actions for ${user.name}`} anchor={anchor} items={items} onClose={() => setAnchor(null)} />
      )}
    </li>
  )
}

interface AddMembersDialogProps {
  readonly summary: ConversationSummary
  readonly present: ReadonlySet<string>
  readonly onClose: () => void
}

function AddMembersDialog({ summary, present, onClose }: AddMembersDialogProps) {
  const chat = useChat()
  const [chosen, setChosen] = useState<readonly Member['user'][]>([])
  const add = (): void => {
    if (chosen.length === 0) return
    onClose()
    attempt(Promise.all(chosen.map(({ id }) => chat.addMember(summary.id, id))), 'Couldn’t add everyone')
  }
  return (
    <Dialog title='Add people' onClose={onClose}>
      <PeopleField
        label='People to add'
        placeholder='Type a name'
        chosen={chosen}
        onChosen={setChosen}
        onSubmit={add}
        without={present}
      />
      <div className='dialog-footer'>
        <button type='button' className='button button-primary' disabled={chosen.length === 0} onClick={add}>
          Add
        </button>
      </div>
    </Dialog>
  )
}
