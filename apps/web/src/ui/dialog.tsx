/**
 * A modal dialog on the browser's own element, which makes the page behind it inert, keeps the focus inside, closes on Escape and
 * gives the focus back to where it was. Renders only while open, so its content starts fresh each time.
 */
import { X } from 'lucide-react'
import { useEffect, useId, useRef, type MouseEvent, type ReactNode } from 'react'
import { useBackToClose } from '../routing/back-layers.ts'
import { keepFocus } from './keep-focus.ts'
import { IconButton } from './icon-button.tsx'
import './dialog.css'

interface DialogProps {
  readonly title: string
  /** `palette` hangs from the top and shows no title bar; the title is still announced. */
  readonly look?: 'window' | 'palette'
  readonly onClose: () => void
  readonly children: ReactNode
}

export function Dialog({ title, look = 'window', onClose, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null)
  const titleId = useId()
  useBackToClose(onClose)

  useEffect(() => {
    const dialog = element.current
    if (dialog === null) return
    const giveFocusBack = keepFocus()
    if (!dialog.open) dialog.showModal()
    // The browser would choose the first control, which is the one that closes.
    dialog.querySelector<HTMLElement>('[data-autofocus], input, textarea')?.focus()
    return () => {
      dialog.close()
      // A dialog that is taken out of the page closes without giving the focus back; so it is done here.
      giveFocusBack(dialog)
    }
  }, [])

  const closeOnBackdrop = (event: MouseEvent<HTMLDialogElement>): void => {
    if (event.target === event.currentTarget) onClose()
  }

  return (
    <dialog
      ref={element}
      className={`dialog dialog-${look}`}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onMouseDown={closeOnBackdrop}
    >
      <div className='dialog-body'>
        {look === 'window' ? (
          <header className='dialog-header'>
            <h2 id={titleId} className='dialog-title'>
              {title}
            </h2>
            <IconButton label='Close' onClick={onClose}>
              <X />
            </IconButton>
          </header>
        ) : (
          <h2 id={titleId} className='hidden-visually'>
            {title}
          </h2>
        )}
        {children}
      </div>
    </dialog>
  )
}
