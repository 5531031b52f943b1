/**
 * A menu beside what opened it: arrow keys, Home, End and first letters move, Enter chooses, Escape and Tab close and give the
 * focus back. In the browser's top layer, so nothing cuts it off. It stays inside the window.
 */
import { useEffect, useLayoutEffect, useRef, type KeyboardEvent, type ReactNode } from 'react'
import { keepFocus } from './keep-focus.ts'
import './menu.css'

export interface MenuItem {
  readonly label: string
  readonly icon?: ReactNode
  /** A single letter that chooses the item while the menu is open; shown beside it. */
  readonly letter?: string
  readonly danger?: boolean
  readonly checked?: boolean
  readonly onSelect: () => void
}

/** Where the menu was opened: an element, or a point of the window. */
export type MenuAnchor = Element | { readonly x: number; readonly y: number }

interface MenuProps {
  readonly label: string
  readonly anchor: MenuAnchor
  readonly items: readonly MenuItem[]
  readonly onClose: () => void
}

const gapPx = 4
const marginPx = 8

/** Places a box beside an anchor: below and right-aligned where there is room, above otherwise, never outside. */
export function placeBeside(box: HTMLElement, anchor: MenuAnchor): void {
  const at = anchor instanceof Element ? anchor.getBoundingClientRect() : new DOMRect(anchor.x, anchor.y, 0, 0)
  const { width, height } = box.getBoundingClientRect()
  const below = at.bottom + gapPx
  const above = at.top - gapPx - height
  const top = below + height <= window.innerHeight - marginPx || above < marginPx ? below : above
  const left = anchor instanceof Element ? at.right - width : at.left
  box.style.top = `${Math.max(marginPx, Math.min(top, window.innerHeight - height - marginPx))}px`
  box.style.left = `${Math.max(marginPx, Math.min(left, window.innerWidth - width - marginPx))}px`
}

export function Menu({ label, anchor, items, onClose }: MenuProps) {
  const element = useRef<HTMLDivElement>(null)
  const close = useRef(onClose)
  close.current = onClose

  useLayoutEffect(() => {
    const menu = element.current
    if (menu === null) return
    const giveFocusBack = keepFocus()
    menu.showPopover()
    placeBeside(menu, anchor)
    menu.querySelector<HTMLElement>('[role^=menuitem]')?.focus({ preventScroll: true })
    return () => giveFocusBack(menu)
  }, [anchor])

  useEffect(() => {
    const closeOutside = (event: Event): void => {
      if (event.target instanceof Node && element.current?.contains(event.target) === true) return
      close.current()
    }
    const closeNow = (): void => close.current()
    document.addEventListener('pointerdown', closeOutside, true)
    window.addEventListener('resize', closeNow)
    // By hand only: a list that follows its end scrolls by itself, and must not take the menu away.
    document.addEventListener('wheel', closeOutside, { capture: true, passive: true })
    document.addEventListener('touchmove', closeOutside, { capture: true, passive: true })
    return () => {
      document.removeEventListener('pointerdown', closeOutside, true)
      window.removeEventListener('resize', closeNow)
      document.removeEventListener('wheel', closeOutside, { capture: true })
      document.removeEventListener('touchmove', closeOutside, { capture: true })
    }
  }, [])

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
      case 'Escape':
      case 'Tab':
        event.preventDefault()
        event.stopPropagation()
        onClose()
        break
      default: {
        const letter = event.key.toLowerCase()
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
    event.stopPropagation()
  }

  return (
    <div ref={element} className='menu' role='menu' aria-label={label} popover='manual' onKeyDown={move}>
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
    </div>
  )
}
