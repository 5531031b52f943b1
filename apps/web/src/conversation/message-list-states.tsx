/**
 * Content shown in place of an empty message list: loading, server unreachable, or the start of the
 * conversation.
 */
import type { ConversationSummary, TimelineView } from '@chorus/client'
import { useConnection } from '@chorus/react'
import { CloudOff } from 'lucide-react'
import { useMe } from '../people/me.tsx'
import { ConversationAvatar } from '../summary/conversation-avatar.tsx'
import { titleOf } from '../summary/title.ts'

interface MessagesSkeletonProps {
  readonly view: TimelineView
  readonly onRetry: () => void
}

export function MessagesSkeleton({ view, onRetry }: MessagesSkeletonProps) {
  const connection = useConnection()
  const isReachable = connection.state === 'ready' || connection.state === 'moving' || connection.state === 'replaying'
  if (view.loading === 'nothing' && !view.isLoaded) {
    return (
      <div className='message-list-empty appears-late'>
        <CloudOff aria-hidden='true' className='empty-icon' />
        <p className='empty-title'>{isReachable ? 'Couldn’t load messages' : 'Not on this device yet'}</p>
        <p className='secondary'>
          {isReachable ? 'The server didn’t respond.' : 'These messages will load when you’re back online.'}
        </p>
        {isReachable && (
          <button type='button' className='button' onClick={onRetry}>
            Try again
          </button>
        )}
      </div>
    )
  }
  return (
    <div className='message-list messages-skeleton' aria-busy='true' aria-label='Loading messages'>
      {skeletonRows.map(([width, isOwn], index) => (
        <div key={index} className='skeleton-message' data-own={isOwn} aria-hidden='true'>
          {!isOwn && <div className='skeleton skeleton-avatar' />}
          <div className='skeleton skeleton-bubble' style={{ width: `${width}%` }} />
        </div>
      ))}
    </div>
  )
}

const skeletonRows: readonly (readonly [width: number, isOwn: boolean])[] = [
  [48, false],
  [34, false],
  [40, true],
  [55, false],
  [28, true],
  [44, true],
  [52, false],
]

interface ConversationStartProps {
  readonly summary: ConversationSummary
  readonly isEmpty: boolean
}

export function ConversationStart({ summary, isEmpty }: ConversationStartProps) {
  const { user: me } = useMe()
  const title = titleOf(summary, me.id)
  return (
    <div className='conversation-start'>
      <ConversationAvatar conversation={summary} sizePx={isEmpty ? 64 : 40} />
      <p className='conversation-start-text'>
        <strong>{describeStart(summary.kind, title)}</strong>
        {isEmpty && <span className='secondary'>No messages yet. Say hello.</span>}
      </p>
    </div>
  )
}

function describeStart(kind: ConversationSummary['kind'], title: string): string {
  switch (kind) {
    case 'direct':
      return `This is the beginning of your conversation with ${title}.`
    case 'group':
      return `This is the beginning of the group ${title}.`
    case 'channel':
      return `This is the beginning of the channel ${title}.`
  }
}
