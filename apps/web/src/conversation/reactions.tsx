/**
 * Reactions below a message. A press on an emoji adds or removes the user's own reaction with it.
 */
import type { PageMessage } from '@chorus/client'
import { SmilePlus } from 'lucide-react'
import { useMessageActions } from './message-actions.ts'

export function Reactions({ message }: { readonly message: PageMessage }) {
  const { toggleReaction, pickReaction } = useMessageActions()
  return (
    <div className='reactions' role='group' aria-label='Reactions'>
      {message.reactions.map(({ emoji, count, mine }) => (
        <button
          key={emoji}
          type='button'
          tabIndex={-1}
          className='reaction'
          aria-pressed={mine}
          aria-label={`${emoji} ${count}`}
          onClick={() => toggleReaction(message, emoji)}
        >
          <span className='reaction-emoji'>{emoji}</span>
          <span className='reaction-count'>{count}</span>
        </button>
      ))}
      <button
        type='button'
        tabIndex={-1}
        className='reaction reaction-add'
        aria-label='Add reaction'
        onClick={(event) => pickReaction(message, event.currentTarget)}
      >
        <SmilePlus aria-hidden='true' />
      </button>
    </div>
  )
}
