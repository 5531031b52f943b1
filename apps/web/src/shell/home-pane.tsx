/** Content of the pane next to the conversation list while no conversation is open. */
import { useConversations } from '@chorus/react'
import { SquarePen } from 'lucide-react'
import { openOverlay } from '../dialogs/overlay.ts'
import { JoinableChannels } from './joinable-channels.tsx'

export function HomePane() {
  const isEmpty = useConversations().length === 0
  return (
    <div className='home'>
      <Drawing />
      <h1 className='home-title'>{isEmpty ? 'No conversations yet' : 'Choose a conversation'}</h1>
      <p className='secondary home-text'>
        {isEmpty
          ? 'Start a conversation, or join a channel.'
          : 'Choose one from the list, or press Ctrl-K to find one.'}
      </p>
      {isEmpty && <JoinableChannels />}
      <button type='button' className='button button-primary' onClick={() => openOverlay('new-conversation')}>
        <SquarePen aria-hidden='true' />
        New conversation
      </button>
    </div>
  )
}

export function Drawing() {
  return (
    <svg className='drawing' viewBox='0 0 160 112' width='160' height='112' aria-hidden='true'>
      <rect className='drawing-back' x='14' y='10' width='92' height='52' rx='12' />
      <path className='drawing-back' d='M30 60v16l18-16z' />
      <rect className='drawing-line' x='28' y='26' width='52' height='6' rx='3' />
      <rect className='drawing-line' x='28' y='40' width='36' height='6' rx='3' />
      <rect className='drawing-front' x='58' y='44' width='88' height='48' rx='12' />
      <path className='drawing-front' d='M130 90v14l-16-14z' />
      <circle className='drawing-dot' cx='86' cy='68' r='4' />
      <circle className='drawing-dot' cx='102' cy='68' r='4' />
      <circle className='drawing-dot' cx='118' cy='68' r='4' />
    </svg>
  )
}
