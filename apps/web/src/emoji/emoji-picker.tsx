/**
 * Emoji picker: all emoji with a search field, in a popover next to its button. Loaded on demand,
 * with data from Chorus's own server. Keyboard: type to search, move with the arrow keys, pick with
 * Enter. Enter in the picker never sends the message.
 */
import { EmojiPicker as Picker, type EmojiPickerListEmojiProps, type EmojiPickerListRowProps } from 'frimousse'
import { Popover, type PopoverAnchor } from '../ui/popover.tsx'
import './emoji-picker.css'

interface EmojiPickerProps {
  readonly anchor: PopoverAnchor
  readonly onPick: (emoji: string) => void
  readonly onClose: () => void
}

export function EmojiPicker({ anchor, onPick, onClose }: EmojiPickerProps) {
  return (
    <Popover
      className='emoji-picker-box'
      role='dialog'
      aria-label='Emoji'
      anchor={anchor}
      focus='input'
      onClose={onClose}
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
          <Picker.Empty className='emoji-picker-note'>No emoji found.</Picker.Empty>
          <Picker.List className='emoji-picker-list' components={components} />
        </Picker.Viewport>
      </Picker.Root>
    </Popover>
  )
}

// Convert an index: the picker counts rows and columns from 0, but ARIA attributes count from 1.
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
