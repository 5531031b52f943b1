/**
 * A box next to its anchor, in the browser's top layer, so that no other element hides part of it.
 * It takes the focus when it opens and gives it back when it closes. It closes on Escape, and when
 * the user moves the focus or presses outside. It is outside every form, so Enter in its fields
 * submits nothing. Keys that it does not handle bubble to the page.
 */
import { useEffect, useLayoutEffect, useRef, type HTMLAttributes, type KeyboardEvent } from 'react'
import { createPortal } from 'react-dom'
import { useBackToClose } from '../routing/back-layers.ts'
import { keepFocus } from './keep-focus.ts'

/** Place next to which a popover opens: an element, or a point of the window. */
export type PopoverAnchor = Element | { readonly x: number; readonly y: number }

interface PopoverProps extends HTMLAttributes<HTMLDivElement> {
  readonly anchor: PopoverAnchor
  /** CSS selector of the element inside the popover that gets the focus. */
  readonly focus: string
  readonly onClose: () => void
  /** Whether scrolling by the user closes the popover. */
  readonly closesOnScroll?: boolean
}

const gapPx = 4
const marginPx = 8

/**
 * Places a box below its anchor or, without room there, above it, but always inside the window. If
 * the anchor is an element, aligns the right edges of both.
 */
function placeBeside(box: HTMLElement, anchor: PopoverAnchor): void {
  const at = anchor instanceof Element ? anchor.getBoundingClientRect() : new DOMRect(anchor.x, anchor.y, 0, 0)
  const { width, height } = box.getBoundingClientRect()
  const below = at.bottom + gapPx
  const above = at.top - gapPx - height
  const top = below + height <= window.innerHeight - marginPx || above < marginPx ? below : above
  const left = anchor instanceof Element ? at.right - width : at.left
  box.style.top = `${Math.max(marginPx, Math.min(top, window.innerHeight - height - marginPx))}px`
  box.style.left = `${Math.max(marginPx, Math.min(left, window.innerWidth - width - marginPx))}px`
}

export function Popover({ anchor, focus, onClose, closesOnScroll = false, onKeyDown, ...rest }: PopoverProps) {
  const element = useRef<HTMLDivElement>(null)
  const close = useRef(onClose)
  useBackToClose(onClose)
  useEffect(() => {
    close.current = onClose
  })

  useLayoutEffect(() => {
    const box = element.current
    if (box === null) return
    const giveFocusBack = keepFocus()
    box.showPopover()
    placeBeside(box, anchor)
    box.querySelector<HTMLElement>(focus)?.focus({ preventScroll: true })
    return () => giveFocusBack(box)
  }, [anchor, focus])

  useEffect(() => {
    const closeOutside = (event: Event): void => {
      if (event.target instanceof Node && element.current?.contains(event.target) === true) return
      close.current()
    }
    // Do not close when the window is resized: on a phone, the on-screen keyboard resizes it when a
    // field gets the focus. Move the popover instead.
    const follow = (): void => {
      if (anchor instanceof Element && !anchor.isConnected) close.current()
      else if (element.current !== null) placeBeside(element.current, anchor)
    }
    const ending = new AbortController()
    const { signal } = ending
    document.addEventListener('pointerdown', closeOutside, { capture: true, signal })
    window.addEventListener('resize', follow, { signal })
    if (closesOnScroll) {
      // Close only on input of the user, not on scroll events: a message list that shows new
      // messages scrolls by itself.
      document.addEventListener('wheel', closeOutside, { capture: true, passive: true, signal })
      document.addEventListener('touchmove', closeOutside, { capture: true, passive: true, signal })
    }
    return () => ending.abort()
  }, [anchor, closesOnScroll])

  const pressKey = (event: KeyboardEvent<HTMLDivElement>): void => {
    onKeyDown?.(event)
    if (event.key !== 'Escape' || event.defaultPrevented) return
    event.preventDefault()
    onClose()
  }

  return createPortal(
    <div
      {...rest}
      ref={element}
      popover='manual'
      onKeyDown={pressKey}
      onBlur={({ currentTarget, relatedTarget }) => {
        if (relatedTarget !== null && !currentTarget.contains(relatedTarget)) onClose()
      }}
    />,
    // Render into the modal dialog that contains the anchor: elements outside of the dialog are
    // inert.
    (anchor instanceof Element ? anchor.closest('dialog') : null) ?? document.body,
  )
}
