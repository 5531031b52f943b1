/**
 * Popup menu next to its anchor. Arrow keys, Home, End and the first letter of a label move between
 * items. Enter chooses an item. Escape and Tab close the menu and restore the focus.
 */
import type { KeyboardEvent, ReactNode } from 'react'
import { latinKey } from './keys.ts'
import { Popover, type PopoverAnchor } from './popover.tsx'
import './menu.css'

export interface MenuItem {
  readonly label: string
  readonly icon?: ReactNode
  /** Letter that chooses the item while the menu is open. Shown next to the label. */
  readonly letter?: string
  readonly danger?: boolean
  readonly checked?: boolean
  readonly onSelect: () => void
}

export type MenuAnchor = PopoverAnchor

interface MenuProps {
  readonly label: string
  readonly anchor: MenuAnchor
  readonly items: readonly MenuItem[]
  readonly onClose: () => void
}

export function Menu({ label, anchor, items, onClose }: MenuProps) {
  const choose = (item: MenuItem): void => {
    onClose()
    item.onSelect()
  }

  const move = (event: KeyboardEvent<HTMLDivElement>): void => {
    const entries = [...event.currentTarget.querySelectorAll<HTMLElement>('[role^=menuitem]')]
    const index = entries.indexOf(document.activeElement as HTMLElement)
    const focus = (to: number): void => {
      event.preventDefault()
      entries.at(to % entries.length)?.focus()
    }
    switch (event.key) {
      case 'ArrowDown':
        focus(index + 1)
        break
      case 'ArrowUp':
        focus(index - 1)
        break
      case 'Home':
        focus(0)
        break
      case 'End':
        focus(-1)
        break
      case 'Tab':
        event.preventDefault()
        onClose()
        break
      default: {
        const letter = latinKey(event.nativeEvent)
        if (event.ctrlKey || event.metaKey || event.altKey || letter.length !== 1) break
        const named = items.find((item) => item.letter?.toLowerCase() === letter)
        if (named !== undefined) {
          event.preventDefault()
          choose(named)
          break
        }
        const first = items.findIndex((item) => item.label.toLowerCase().startsWith(letter))
        if (first !== -1) focus(first)
      }
    }
  }

  return (
    <Popover
      className='menu'
      role='menu'
      aria-label={label}
      anchor={anchor}
      focus='[role^=menuitem]'
      closesOnScroll
      onClose={onClose}
      onKeyDown={move}
    >
      {items.map((item) => (
        <button
          key={item.label}
          type='button'
          role={item.checked === undefined ? 'menuitem' : 'menuitemradio'}
          aria-checked={item.checked}
          tabIndex={-1}
          className={item.danger === true ? 'menu-item menu-item-danger' : 'menu-item'}
          aria-keyshortcuts={item.letter}
          onClick={() => choose(item)}
        >
          {item.icon}
          <span className='menu-item-label'>{item.label}</span>
          {item.checked === true && <span aria-hidden='true'>✓</span>}
          {item.letter !== undefined && (
            <kbd className='menu-key' aria-hidden='true'>
              {item.letter}
            </kbd>
          )}
        </button>
      ))}
    </Popover>
  )
}
