/** One message: its bubble, sender, time, delivery mark, reactions and actions. */
import type { OutboxItem, PageMessage } from '@chorus/client'
import { useUser } from '@chorus/react'
import { CheckCheck, Check, Clock3, Ellipsis, Reply, SmilePlus } from 'lucide-react'
import { memo, useRef, useState, type MouseEvent, type PointerEvent } from 'react'
import { Avatar, personHue } from '../people/avatar.tsx'
import { MessageText } from '../text/message-text.tsx'
import { showsNothing } from '../text/plain-text.ts'
import { formatClock, formatDay, formatFull } from '../time/format-time.ts'
import { useNow } from '../time/use-now.ts'
import { IconButton } from '../ui/icon-button.tsx'
import { useMessageActions } from './message-actions.ts'
import { MessageCard } from './card.tsx'
import { Reactions } from './reactions.tsx'
import { ReplyQuote } from './reply-quote.tsx'
import { markOf, seqOf, type Mark, type MessageRow } from './rows.ts'
import './message-row.css'

interface MessageRowProps {
  readonly conversation: string
  readonly row: MessageRow
  /**
   * Highest seq that another member has read. A new value renders the row again only if it changes
   * the delivery mark of this row.
   */
  readonly readUpTo: number
  readonly isHighlighted: boolean
  /**
   * Whether the Tab key stops at this row. Only one row of the list has this stop; the arrow keys
   * move it.
   */
  readonly isReachable: boolean
}

export const MessageRowView = memo(function MessageRowView(props: MessageRowProps) {
  const { row, conversation, readUpTo, isHighlighted, isReachable } = props
  const { item } = row
  const sender = useUser(row.sender)
  const name = sender?.name ?? '…'
  const now = useNow()
  const message = item.kind === 'message' ? item.message : undefined
  const isDeleted = message !== undefined && message.deletedAt !== null
  const mark = row.isMine && !isDeleted ? markOf(item, readUpTo) : undefined
  const card = message?.card
  const text = item.kind === 'message' ? item.message.text : item.item.draft.text
  const { data, attachments } = item.kind === 'message' ? item.message : item.item.draft
  const replyTo = item.kind === 'message' ? item.message.replyTo : (item.item.draft.replyTo ?? null)
  const clock = formatClock(row.createdAt, { now })
  const full = formatFull(row.createdAt, { now })
  const hold = useLongPress(message)
  // Keep the action buttons in the DOM only while the message is hovered or focused, so that a long
  // list stays fast.
  const [isActive, setIsActive] = useState(false)

  return (
    <div
      className='row'
      data-row={row.key}
      data-seq={seqOf(row)}
      data-own={row.isMine}
      data-first={row.startsGroup}
      data-last={row.endsGroup}
    >
      {row.startsDay && (
        <div className='day-divider' data-divider>
          <span className='day-pill'>{formatDay(row.createdAt, { now })}</span>
        </div>
      )}
      {row.startsUnread && (
        <div className='unread-line' role='separator' aria-label='New messages'>
          <span aria-hidden='true'>New messages</span>
        </div>
      )}
      <article
        className='message'
        data-testid='message'
        data-state={mark ?? (isDeleted ? 'deleted' : 'received')}
        data-highlighted={isHighlighted}
        data-focus-home
        tabIndex={isReachable ? 0 : -1}
        onPointerEnter={() => setIsActive(true)}
        onPointerLeave={(event) => setIsActive(event.currentTarget.contains(document.activeElement))}
        onFocus={() => setIsActive(true)}
        onBlur={(event) => {
          if (event.currentTarget.contains(event.relatedTarget)) return
          setIsActive(event.currentTarget.matches(':hover'))
        }}
        aria-label={`${row.isMine ? 'You' : name}, ${clock}${mark === undefined ? '' : `, ${markLabels[mark]}`}`}
      >
        {!row.isMine && (
          <div className='message-gutter'>
            {row.startsGroup && <Avatar id={row.sender} name={name} picture={sender?.avatar ?? null} sizePx={34} />}
          </div>
        )}
        <div className='message-main'>
          {row.startsGroup && !row.isMine && (
            <p className='message-header' aria-hidden='true'>
              <span className='message-name' style={personHue(row.sender)}>
                {name}
              </span>
              <time className='message-header-time' dateTime={row.createdAt} title={full}>
                {clock}
              </time>
            </p>
          )}
          <div className='bubble-line'>
            <div className={isDeleted ? 'bubble bubble-deleted' : 'bubble'} {...hold}>
              {replyTo !== null && !isDeleted && <ReplyQuote conversation={conversation} seq={replyTo} />}
              {isDeleted ? (
                <p className='message-text'>Message deleted</p>
              ) : (
                <>
                  {(card === undefined || !showsNothing(text)) && (
                    <MessageText text={text} data={data} attachments={attachments} />
                  )}
                  {message !== undefined && card !== undefined && (
                    <MessageCard message={message} card={card} isReachable={isReachable} />
                  )}
                </>
              )}
              {message !== undefined && !isDeleted && message.editedAt !== null && (
                <span className='message-edited' title={`Edited ${formatFull(message.editedAt, { now })}`}>
                  edited {formatClock(message.editedAt, { now })}
                </span>
              )}
            </div>
            {mark === 'sending' && !row.endsGroup && (
              <span className='message-mark'>
                <MarkIcon mark={mark} />
              </span>
            )}
            <time className='bubble-time' dateTime={row.createdAt} title={full}>
              {clock}
            </time>
            {message !== undefined && !isDeleted && isActive && <Toolbar message={message} />}
          </div>
          {message !== undefined && message.reactions.length > 0 && <Reactions message={message} />}
          {item.kind === 'pending' && item.item.status.state === 'failed' && <FailedNote item={item.item} />}
          {mark !== undefined && mark !== 'failed' && row.endsGroup && (
            <p className='message-mark' data-mark={mark} title={full}>
              {mark !== 'sending' && <span aria-hidden='true'>{clock}</span>}
              <MarkIcon mark={mark} />
            </p>
          )}
        </div>
      </article>
    </div>
  )
}, areEqual)

function areEqual(before: MessageRowProps, after: MessageRowProps): boolean {
  const [a, b] = [before.row, after.row]
  return (
    a.item === b.item &&
    a.day === b.day &&
    a.startsDay === b.startsDay &&
    a.startsUnread === b.startsUnread &&
    a.startsGroup === b.startsGroup &&
    a.endsGroup === b.endsGroup &&
    before.conversation === after.conversation &&
    before.isHighlighted === after.isHighlighted &&
    before.isReachable === after.isReachable &&
    (!b.isMine || markOf(a.item, before.readUpTo) === markOf(b.item, after.readUpTo))
  )
}

const markLabels: Record<Mark, string> = { sending: 'Sending', sent: 'Sent', read: 'Read', failed: 'Not sent' }

function MarkIcon({ mark }: { readonly mark: Mark }) {
  const label = markLabels[mark]
  switch (mark) {
    case 'sending':
      return <Clock3 role='img' aria-label={label} />
    case 'sent':
      return <Check role='img' aria-label={label} />
    case 'read':
      return <CheckCheck role='img' aria-label={label} />
    case 'failed':
      return null
  }
}

function FailedNote({ item }: { readonly item: OutboxItem }) {
  const { retry, discard } = useMessageActions()
  return (
    <p className='message-failed' role='group' aria-label='Not sent'>
      <span>Couldn’t send.</span>
      <button type='button' className='text-button' onClick={() => retry(item.clientId)}>
        Try again
      </button>
      <button type='button' className='text-button' onClick={() => discard(item.clientId)}>
        Delete
      </button>
    </p>
  )
}

export const quickReactions = ['👍', '❤️', '😂'] as const

function Toolbar({ message }: { readonly message: PageMessage }) {
  const actions = useMessageActions()
  const anchorOf = (event: MouseEvent): Element => event.currentTarget
  return (
    <div className='message-toolbar' role='toolbar' aria-label='Message actions'>
      {quickReactions.map((emoji) => (
        <button
          key={emoji}
          type='button'
          tabIndex={-1}
          className='icon-button message-toolbar-emoji'
          aria-label={`React with ${emoji}`}
          onClick={() => actions.toggleReaction(message, emoji)}
        >
          {emoji}
        </button>
      ))}
      <IconButton
        label='Add reaction'
        tabIndex={-1}
        onClick={(event) => actions.pickReaction(message, anchorOf(event))}
      >
        <SmilePlus />
      </IconButton>
      <IconButton label='Reply' tabIndex={-1} onClick={() => actions.reply(message)}>
        <Reply />
      </IconButton>
      <IconButton
        label='More actions'
        tabIndex={-1}
        aria-haspopup='menu'
        onClick={(event) => actions.openMenu(message, anchorOf(event))}
      >
        <Ellipsis />
      </IconButton>
    </div>
  )
}

const longPressMs = 450
const movedPx = 10

/**
 * Returns event handlers that open the menu of a message after a long press (touch or pen), or on a
 * right click.
 */
function useLongPress(message: PageMessage | undefined) {
  const { openMenu } = useMessageActions()
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  const start = useRef({ x: 0, y: 0 })
  if (message === undefined || message.deletedAt !== null) return {}
  const cancel = (): void => clearTimeout(timer.current)
  return {
    onPointerDown: (event: PointerEvent<HTMLElement>) => {
      if (event.pointerType === 'mouse') return
      const { clientX: x, clientY: y } = event
      start.current = { x, y }
      clearTimeout(timer.current)
      timer.current = setTimeout(() => openMenu(message, { x, y }), longPressMs)
    },
    onPointerMove: (event: PointerEvent<HTMLElement>) => {
      if (Math.hypot(event.clientX - start.current.x, event.clientY - start.current.y) > movedPx) cancel()
    },
    onPointerUp: cancel,
    onPointerCancel: cancel,
    onContextMenu: (event: MouseEvent<HTMLElement>) => {
      // Keep the browser's own menu for links and selected text.
      if (event.target instanceof Element && event.target.closest('a') !== null) return
      if (window.getSelection()?.isCollapsed === false) return
      event.preventDefault()
      cancel()
      openMenu(message, { x: event.clientX, y: event.clientY })
    },
  }
}
