/** Dialog that lists the keyboard shortcuts (`?`). */
import { Dialog } from '../ui/dialog.tsx'
import './keyboard-dialog.css'

const map: readonly (readonly [title: string, keys: readonly (readonly [keys: string, does: string])[]])[] = [
  [
    'Everywhere',
    [
      ['Ctrl K', 'Find people, channels and commands'],
      ['Alt ↑ · Alt ↓', 'Previous or next conversation'],
      ['Esc', 'Close or go back'],
      ['?', 'Show keyboard shortcuts'],
    ],
  ],
  [
    'In the message field',
    [
      ['Enter', 'Send (can be changed in settings)'],
      ['Shift Enter', 'New line'],
      ['↑', 'Edit your last message'],
      ['Shift Tab', 'Go to the messages'],
    ],
  ],
  [
    'On a message',
    [
      ['↑ · ↓', 'Older or newer message'],
      ['← · →', 'Previous or next action, reaction or quote'],
      ['R', 'Reply'],
      ['A', 'Add reaction'],
      ['E', 'Edit your own message'],
      ['Delete', 'Delete'],
      ['M', 'More actions'],
    ],
  ],
]

export function KeyboardDialog({ onClose }: { readonly onClose: () => void }) {
  return (
    <Dialog title='Keyboard shortcuts' onClose={onClose}>
      <div className='dialog-content keyboard-map scrolls' tabIndex={0} role='region' aria-label='Keyboard shortcuts'>
        {map.map(([title, keys]) => (
          <section key={title}>
            <h3 className='keyboard-title'>{title}</h3>
            <dl className='keyboard-keys'>
              {keys.map(([key, does]) => (
                <div key={key} className='keyboard-row'>
                  <dt>
                    {key.split(' · ').map((combination) => (
                      <kbd key={combination}>{combination}</kbd>
                    ))}
                  </dt>
                  <dd>{does}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  )
}
