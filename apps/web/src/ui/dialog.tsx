/**
 * A modal dialog, based on the browser's `dialog` element. The element makes the page behind it
 * inert, keeps the focus inside, and closes on Escape. After closing, the focus returns to the
 * element that had it. The dialog renders only while open, so its content starts fresh each time.
 */
import { X } from 'lucide-react'
import { useEffect, useId, useRef, type MouseEvent, type ReactNode } from 'react'
import { useBackToClose } from '../routing/back-layers.ts'
import { keepFocus } from './keep-focus.ts'
import { IconButton } from './icon-button.tsx'
import './dialog.css'

interface DialogProps {
  readonly title: string
  /**
   * Look of the dialog. A `palette` is placed at the top of the window and has no title bar; screen
   * readers still announce its title.
   */
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
    // Focus the first field. The browser would focus the first control, which is the close button.
    dialog.querySelector<HTMLElement>('[data-autofocus], input, textarea')?.focus()
    return () => {
      dialog.close()
      // Restore the focus here: the browser does not restore it when a dialog is removed from the
      // DOM.
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
