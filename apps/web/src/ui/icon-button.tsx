/** A button that shows only an icon. It must have a label, which is also its tooltip. */
import type { ButtonHTMLAttributes, ReactNode, Ref } from 'react'

interface IconButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'aria-label' | 'title' | 'children'> {
  readonly label: string
  /** Keyboard shortcut, shown in the tooltip after the label. */
  readonly shortcut?: string
  readonly children: ReactNode
  readonly ref?: Ref<HTMLButtonElement>
}

export function IconButton({ label, shortcut, className, children, ...rest }: IconButtonProps) {
  return (
    <button
      type='button'
      {...rest}
      className={className === undefined ? 'icon-button' : `icon-button ${className}`}
      aria-label={label}
      aria-keyshortcuts={shortcut}
      title={
        shortcut === undefined ? label : `${label} (${shortcut.replace('Control+', 'Ctrl-').replace('Alt+', 'Alt-')})`
      }
    >
      {children}
    </button>
  )
}
