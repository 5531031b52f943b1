/**
 * An open conversation: header, messages, typing members, composer, and a details panel that the
 * user can open.
 */
import type { ConversationSummary, PageMessage } from '@chorus/client'
import { useChat, useConversation, useDataState, useMessages } from '@chorus/react'
import { Copy, Link2, Pencil, Reply, SmilePlus, Trash2 } from 'lucide-react'
import { Suspense, useEffect, useMemo, useRef, useState } from 'react'
import { attempt } from '../notices/explain-error.ts'
import { useMe } from '../people/me.tsx'
import { useShownTyping } from '../people/use-shown-presence.ts'
import { Link } from '../routing/link.tsx'
import { formatRoute } from '../routing/route.ts'
import { describeMessage, titleOf } from '../summary/title.ts'
import { TypingNames } from '../summary/typing-names.tsx'
import { copyText } from '../ui/copy-text.ts'
import { Dialog } from '../ui/dialog.tsx'
import { Menu, type MenuAnchor, type MenuItem } from '../ui/menu.tsx'
import { MissingOverlay, part } from '../ui/part.tsx'
import { Composer, type ComposerHandle } from './composer.tsx'
import { ConversationHeader } from './conversation-header.tsx'
import { LiveAnnouncer } from './live-announcer.tsx'
import { MessageActionsContext, type MessageActions } from './message-actions.ts'
import { MessageList, type MessageListHandle } from './message-list.tsx'
import './conversation-view.css'

const DetailsPanel = part(async () => (await import('../members/details-panel.tsx')).DetailsPanel, MissingOverlay)
const EmojiPicker = part(async () => (await import('../emoji/emoji-picker.tsx')).EmojiPicker, MissingOverlay)

interface ConversationViewProps {
  readonly id: string
  readonly seq: number | undefined
}

export function ConversationView({ id, seq }: ConversationViewProps) {
  const summary = useConversation(id)
  if (summary === undefined) return <UnknownConversation id={id} />
  return <OpenConversation summary={summary} seq={seq} />
}

/** Menu, emoji picker or dialog that is shown over the messages. At most one is open. */
type Floating =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'menu'; readonly message: PageMessage; readonly anchor: MenuAnchor }
  | { readonly kind: 'picker'; readonly message: PageMessage; readonly anchor: MenuAnchor }
  | { readonly kind: 'delete'; readonly message: PageMessage }

const nothing: Floating = { kind: 'nothing' }

function OpenConversation({
  summary,
  seq,
}: {
  readonly summary: ConversationSummary
  readonly seq: number | undefined
}) {
  const chat = useChat()
  const { user: me } = useMe()
  const { id } = summary
  const { messages } = chat.conversation(id)
  const view = useMessages(id)
  const title = titleOf(summary, me.id)
  const list = useRef<MessageListHandle>(null)
  const composer = useRef<ComposerHandle>(null)
  const [floating, setFloating] = useState<Floating>(nothing)
  const [isPanelOpen, setIsPanelOpen] = useState(false)

  // Focus the composer at once on devices with a mouse, which usually have a keyboard. On touch
  // devices, the focus would open the on-screen keyboard.
  useEffect(() => {
    if (window.matchMedia('(pointer: fine)').matches) composer.current?.focus()
  }, [])

  const canModerate = summary.role === 'owner' || summary.role === 'moderator'
  const actions = useMemo<MessageActions>(() => {
    const find = (wanted: number): PageMessage | undefined => {
      const item = messages.view.get().items.find((row) => row.kind === 'message' && row.message.seq === wanted)
      return item?.kind === 'message' ? item.message : undefined
    }
    return {
      find,
      reply: (message) => composer.current?.reply(message),
      edit: (message) => composer.current?.edit(message),
      askToDelete: (message) => {
        if (message.sender === me.id || canModerate) setFloating({ kind: 'delete', message })
      },
      toggleReaction: (message, emoji) => {
        const mine = (find(message.seq) ?? message).reactions.some(
          (reaction) => reaction.emoji === emoji && reaction.mine,
        )
        attempt(mine ? messages.unreact(message.seq, emoji) : messages.react(message.seq, emoji), 'Couldn’t react')
      },
      pickReaction: (message, anchor) => setFloating({ kind: 'picker', message, anchor }),
      openMenu: (message, anchor) => setFloating({ kind: 'menu', message, anchor }),
      jumpTo: (wanted) => list.current?.jumpTo(wanted),
      retry: (clientId) => attempt(messages.retry(clientId), 'Couldn’t send'),
      discard: (clientId) => attempt(messages.discard(clientId), 'Couldn’t delete'),
    }
  }, [messages, me.id, canModerate])

  const stopFloating = (): void => setFloating(nothing)
  return (
    <MessageActionsContext value={actions}>
      <section
        className='conversation'
        data-panel={isPanelOpen}
        aria-label={`Conversation: ${title}`}
        onKeyDown={(event) => {
          if (event.key !== 'Escape' || !isPanelOpen || event.defaultPrevented) return
          event.preventDefault()
          setIsPanelOpen(false)
        }}
      >
        <div className='conversation-main'>
          <ConversationHeader
            summary={summary}
            isPanelOpen={isPanelOpen}
            onPanel={() => setIsPanelOpen(!isPanelOpen)}
          />
          <MessageList ref={list} summary={summary} view={view} initialSeq={seq} />
          <TypingLine conversation={id} />
          <Composer ref={composer} conversation={id} title={title} />
        </div>
        {isPanelOpen && (
          <Suspense fallback={<aside className='panel' aria-busy='true' aria-label='Details' />}>
            <DetailsPanel summary={summary} onClose={() => setIsPanelOpen(false)} />
          </Suspense>
        )}
        <LiveAnnouncer view={view} />
      </section>
      {floating.kind === 'menu' && (
        <Menu
          label='Message actions'
          anchor={floating.anchor}
          onClose={() => setFloating((now) => (now === floating ? nothing : now))}
          items={menuItems(floating.message, floating.anchor, actions, { me: me.id, canModerate })}
        />
      )}
      {floating.kind === 'picker' && (
        <Suspense fallback={null}>
          <EmojiPicker
            anchor={floating.anchor}
            onPick={(emoji) => actions.toggleReaction(floating.message, emoji)}
            onClose={stopFloating}
          />
        </Suspense>
      )}
      {floating.kind === 'delete' && (
        <DeleteDialog
          message={floating.message}
          onClose={stopFloating}
          onDelete={() => {
            stopFloating()
            attempt(messages.delete(floating.message.seq), 'Couldn’t delete')
          }}
        />
      )}
    </MessageActionsContext>
  )
}

function menuItems(
  message: PageMessage,
  anchor: MenuAnchor,
  actions: MessageActions,
  { me, canModerate }: { readonly me: string; readonly canModerate: boolean },
): readonly MenuItem[] {
  const isMine = message.sender === me
  const address = `${window.location.origin}${formatRoute({ at: 'conversation', conversation: message.conversation, seq: message.seq })}`
  return [
    { label: 'Reply', letter: 'r', icon: <Reply />, onSelect: () => actions.reply(message) },
    { label: 'Add reaction', letter: 'a', icon: <SmilePlus />, onSelect: () => actions.pickReaction(message, anchor) },
    { label: 'Copy text', letter: 'c', icon: <Copy />, onSelect: () => copyText(textOf(message), 'Text copied') },
    { label: 'Copy link', letter: 'l', icon: <Link2 />, onSelect: () => copyText(address, 'Link copied') },
    ...(isMine ? [{ label: 'Edit', letter: 'e', icon: <Pencil />, onSelect: () => actions.edit(message) }] : []),
    ...(isMine || canModerate
      ? [{ label: 'Delete', letter: 'd', danger: true, icon: <Trash2 />, onSelect: () => actions.askToDelete(message) }]
      : []),
  ]
}

function textOf(message: PageMessage): string {
  return message.card === undefined ? message.text : `${describeMessage(message)}\n${message.text}`.trim()
}

interface DeleteDialogProps {
  readonly message: PageMessage
  readonly onDelete: () => void
  readonly onClose: () => void
}

function DeleteDialog({ message, onDelete, onClose }: DeleteDialogProps) {
  return (
    <Dialog title='Delete this message?' onClose={onClose}>
      <div className='dialog-content'>
        <p className='delete-quote truncate'>{describeMessage(message)}</p>
        <p className='secondary small'>This deletes it for everyone. “Message deleted” appears in its place.</p>
        <div className='dialog-actions'>
          <button type='button' className='button' data-autofocus onClick={onClose}>
            Cancel
          </button>
          <button type='button' className='button button-danger' onClick={onDelete}>
            Delete
          </button>
        </div>
      </div>
    </Dialog>
  )
}

function TypingLine({ conversation }: { readonly conversation: string }) {
  const users = useShownTyping(conversation)
  return (
    <div className='typing-line' data-testid='typing'>
      {users.length > 0 && <TypingNames users={users} isNamed />}
    </div>
  )
}

/**
 * Content shown for the address of a conversation that is still loading, or that the user is not a
 * member of.
 */
function UnknownConversation({ id }: { readonly id: string }) {
  const chat = useChat()
  const data = useDataState()
  const [isJoining, setIsJoining] = useState(false)
  if (data !== 'live') return <div className='home' aria-busy='true' aria-label='Loading' />
  const join = (): void => {
    setIsJoining(true)
    attempt(
      chat.joinChannel(id).finally(() => setIsJoining(false)),
      'Couldn’t join',
    )
  }
  return (
    <div className='home'>
      <h1 className='home-title'>You’re not a member of this conversation</h1>
      <p className='secondary home-text'>
        If it is a public channel, you can join it. Otherwise, ask a member to add you.
      </p>
      <div className='dialog-actions'>
        <Link to={{ at: 'home' }} className='button unknown-back'>
          Back
        </Link>
        <button type='button' className='button button-primary' aria-disabled={isJoining} onClick={join}>
          Join channel
        </button>
      </div>
    </div>
  )
}
