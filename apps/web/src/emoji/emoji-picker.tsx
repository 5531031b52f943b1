/**
 * The whole catalogue of emoji, with search, in a box beside the button that opened it. Loaded on demand, with data from this
 * origin. Escape or a click elsewhere closes it; the focus goes back to the button.
 */
import { EmojiPicker as Picker, type EmojiPickerListEmojiProps, type EmojiPickerListRowProps } from 'frimousse'
import { useEffect, useLayoutEffect, useRef, type KeyboardEvent } from 'react'
import { keepFocus } from '../ui/keep-focus.ts'
import { placeBeside, type MenuAnchor } from '../ui/menu.tsx'
import './emoji-picker.css'

interface EmojiPickerProps {
  readonly anchor: MenuAnchor
  readonly onPick: (emoji: string) => void
  readonly onClose: () => void
}

export function EmojiPicker({ anchor, onPick, onClose }: EmojiPickerProps) {
  const element = useRef<HTMLDivElement>(null)

  useLayoutEffect(() => {
    const box = element.current
    if (box === null) return
    const giveFocusBack = keepFocus()
    box.showPopover()
    placeBeside(box, anchor)
    box.querySelector('input')?.focus({ preventScroll: true })
    return () => giveFocusBack(box)
  }, [anchor])

  const close = useRef(onClose)
  useEffect(() => {
    close.current = onClose
  })
  useEffect(() => {
    const closeOutside = (event: PointerEvent): void => {
      if (event.target instanceof Node && element.current?.contains(event.target) === true) return
      close.current()
    }
    const closeNow = (): void => close.current()
    document.addEventListener('pointerdown', closeOutside, true)
    window.addEventListener('resize', closeNow)
    return () => {
      document.removeEventListener('pointerdown', closeOutside, true)
      window.removeEventListener('resize', closeNow)
    }
  }, [])

  const closeOnEscape = (event: KeyboardEvent): void => {
    event.stopPropagation()
    if (event.key !== 'Escape') return
    event.preventDefault()
    onClose()
  }

  return (
    <div
      ref={element}
      className='emoji-picker-box'
      popover='manual'
      role='dialog'
      aria-label='Emoji'
      onKeyDown={closeOnEscape}
    >
      <Picker.Root
        className='emoji-picker'
        emojibaseUrl={__EMOJI_BASE__}
        columns={8}
        onEmojiSelect={({ emoji }) => {
          onPick(emoji)
          onClose()
        }}
      >
        <Picker.Search className='emoji-picker-search' placeholder='Search emoji' aria-label='Search emoji' />
        <Picker.Viewport className='emoji-picker-viewport'>
          <Picker.Loading className='emoji-picker-note'>Loading…</Picker.Loading>
          <Picker.Empty className='emoji-picker-note'>No emoji found</Picker.Empty>
          <Picker.List className='emoji-picker-list' components={components} />
        </Picker.Viewport>
      </Picker.Root>
    </div>
  )
}

// The picker counts rows and columns from 0, assistive technology from 1.
function fromOne(index: number | undefined): number | undefined {
  return index === undefined ? undefined : index + 1
}

const components = {
  Row: ({ children, ...rest }: EmojiPickerListRowProps) => (
    <div {...rest} aria-rowindex={fromOne(rest['aria-rowindex'])}>
      {children}
    </div>
  ),
  Emoji: ({ emoji, ...rest }: EmojiPickerListEmojiProps) => (
    <button {...rest} aria-colindex={fromOne(rest['aria-colindex'])}>
      {emoji.emoji}
    </button>
  ),
}
