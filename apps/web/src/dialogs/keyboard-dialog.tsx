/** Dialog that lists the keyboard shortcuts (`?`). */
import { Dialog } from '../ui/dialog.tsx'
import './keyboard-dialog.css'

const map: readonly (readonly [title: string, keys: readonly (readonly [keys: string, does: string])[]])[] = [
  [
    'Everywhere',
    [
      ['Ctrl K', 'Find people, channels and commands'],
      ['Alt ↑ · Alt ↓', 'Previous or next conversation'],
      ['Esc', 'One level back'],
      ['?', 'This map'],
    ],
  ],
  [
    'While writing',
    [
      ['Enter', 'Send (can be changed in settings)'],
      ['Shift Enter', 'New line'],
      ['↑', 'Edit my last message'],
      ['Shift Tab', 'Go to the messages'],
    ],
  ],
  [
    'On a message',
    [
      ['↑ · ↓', 'Older or newer message'],
      ['← · →', 'Its actions, reactions and quote'],
      ['R', 'Reply'],
      ['A', 'Add a reaction'],
      ['E', 'Edit, if it is mine'],
      ['Delete', 'Delete'],
      ['M', 'All actions'],
    ],
  ],
]

export function KeyboardDialog({ onClose }: { readonly onClose: () => void }) {
  return (
    <Dialog title='Keyboard' onClose={onClose}>
      <div className='dialog-content keyboard-map scrolls' tabIndex={0} role='region' aria-label='Keyboard map'>
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
