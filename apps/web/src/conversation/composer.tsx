/**
 * Where messages are written. What is typed is kept per conversation and survives anything; Enter sends (a setting swaps it), ↑ in an empty
 * field edits the last message of mine, Escape gives up an edit or a reply and nothing else.
 */
import { limits, type PageMessage } from '@chorus/client'
import { useChat, useUser } from '@chorus/react'
import { Pencil, Reply, SendHorizontal, Smile, X } from 'lucide-react'
import {
  lazy,
  Suspense,
  useEffect,
  useImperativeHandle,
  useLayoutEffect,
  useRef,
  useState,
  type KeyboardEvent,
  type Ref,
} from 'react'
import { attempt, explainError } from '../notices/explain-error.ts'
import { showNotice } from '../notices/notices.ts'
import { useEnterSends } from '../settings/enter-key.ts'
import { useMe } from '../shell/me.tsx'
import { IconButton } from '../ui/icon-button.tsx'
import { describeMessage } from './title.ts'
import './composer.css'

const EmojiPicker = lazy(async () => ({ default: (await import('../emoji/emoji-picker.tsx')).EmojiPicker }))

/** What is being written: a new message, or another text for an old one. */
export type Writing = { readonly mode: 'new' } | { readonly mode: 'edit'; readonly message: PageMessage }

export interface ComposerHandle {
  readonly focus: () => void
}

interface ComposerProps {
  readonly conversation: string
  readonly title: string
  readonly writing: Writing
  readonly replyTo: PageMessage | undefined
  readonly onReplyTo: (message: PageMessage | undefined) => void
  readonly onWriting: (writing: Writing) => void
  readonly onEditLast: () => boolean
  readonly ref: Ref<ComposerHandle>
}

const linesMax = 8
const counterFrom = limits.textMaxChars - 500

export function Composer(props: ComposerProps) {
  const { conversation, title, writing, replyTo, onReplyTo, onWriting, onEditLast, ref } = props
  const chat = useChat()
  const { drafts } = useMe()
  const enterSends = useEnterSends()
  const { messages, typing } = chat.conversation(conversation)
  const field = useRef<HTMLTextAreaElement>(null)
  const [draft, setDraft] = useState(() => drafts.read(conversation).text)
  const [edited, setEdited] = useState('')
  const [pickerAnchor, setPickerAnchor] = useState<Element | null>(null)
  const isEditing = writing.mode === 'edit'
  const text = isEditing ? edited : draft
  const isTooLong = text.length > limits.textMaxChars
  const isEmpty = text.trim() === ''

  useImperativeHandle(ref, () => ({ focus: () => field.current?.focus() }), [])

  // An edit borrows the field; the draft waits and comes back.
  const editedSeq = writing.mode === 'edit' ? writing.message.seq : undefined
  const editedText = writing.mode === 'edit' ? writing.message.text : ''
  useEffect(() => {
    if (editedSeq === undefined) return
    setEdited(editedText)
    const element = field.current
    element?.focus()
    requestAnimationFrame(() => element?.setSelectionRange(element.value.length, element.value.length))
    // Only another message starts another edit; a change of the same one must not overwrite what is being typed.
  }, [editedSeq])

  useLayoutEffect(() => {
    const element = field.current
    if (element === null) return
    element.style.height = 'auto'
    const lineHeight = Number.parseFloat(getComputedStyle(element).lineHeight)
    const padding = element.offsetHeight - element.clientHeight + 18
    element.style.height = `${Math.min(element.scrollHeight, lineHeight * linesMax + padding)}px`
  }, [text])

  const replySeq = replyTo?.seq
  useEffect(() => {
    drafts.write(conversation, replySeq === undefined ? { text: draft } : { text: draft, replyTo: replySeq })
  }, [drafts, conversation, draft, replySeq])

  const write = (next: string): void => {
    if (isEditing) {
      setEdited(next)
      return
    }
    setDraft(next)
    if (next.trim() === '') typing.stop()
    else typing.start()
  }

  const submit = (): void => {
    if (isEmpty || isTooLong) return
    const written = text.trim()
    if (writing.mode === 'edit') {
      onWriting({ mode: 'new' })
      if (written !== writing.message.text) attempt(messages.edit(writing.message.seq, written), 'Couldn’t edit')
      return
    }
    typing.stop()
    setDraft('')
    onReplyTo(undefined)
    messages.send(replySeq === undefined ? { text: written } : { text: written, replyTo: replySeq }).then(
      // A refusal shows at the message itself.
      ({ acknowledged }) => acknowledged.catch(() => undefined),
      (error: unknown) => {
        // It could not even be kept on this device: what was typed comes back.
        setDraft((present) => (present === '' ? written : present))
        showNotice({ tone: 'error', text: `Couldn’t send. ${explainError(error)}` })
      },
    )
  }

  const insert = (emoji: string): void => {
    const element = field.current
    const from = element?.selectionStart ?? text.length
    const to = element?.selectionEnd ?? text.length
    write(text.slice(0, from) + emoji + text.slice(to))
    requestAnimationFrame(() => {
      element?.focus()
      element?.setSelectionRange(from + emoji.length, from + emoji.length)
    })
  }

  const pressKey = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    if (event.nativeEvent.isComposing) return
    if (event.key === 'Enter') {
      const hasControl = event.ctrlKey || event.metaKey
      const sends = enterSends ? !event.shiftKey : hasControl
      if (!sends) return
      event.preventDefault()
      submit()
    } else if (event.key === 'ArrowUp' && text === '' && !isEditing && !event.altKey) {
      if (onEditLast()) event.preventDefault()
    } else if (event.key === 'Escape' && (isEditing || replyTo !== undefined)) {
      event.preventDefault()
      event.stopPropagation()
      if (isEditing) onWriting({ mode: 'new' })
      else onReplyTo(undefined)
    }
  }

  return (
    <form
      className='composer'
      aria-label={`Message to ${title}`}
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
    >
      <div className='composer-column'>
        {writing.mode === 'edit' && (
          <Context
            icon={<Pencil />}
            label='Editing'
            text={describeMessage(writing.message)}
            closeLabel='Cancel editing'
            onClose={() => onWriting({ mode: 'new' })}
          />
        )}
        {writing.mode === 'new' && replyTo !== undefined && (
          <ReplyContext message={replyTo} onClose={() => onReplyTo(undefined)} />
        )}
        <div className='composer-box'>
          <textarea
            ref={field}
            className='composer-text scrolls'
            rows={1}
            value={text}
            placeholder={isEditing ? 'Edit message' : `Message ${title}`}
            aria-label={isEditing ? 'Edit message' : `Message ${title}`}
            aria-describedby='composer-hint'
            enterKeyHint={enterSends ? 'send' : 'enter'}
            dir='auto'
            onChange={(event) => write(event.currentTarget.value)}
            onKeyDown={pressKey}
            onBlur={() => typing.stop()}
          />
          {text.length > counterFrom && (
            <span className='composer-counter' data-over={isTooLong} role='status'>
              {(limits.textMaxChars - text.length).toLocaleString()}
            </span>
          )}
          <IconButton
            label='Emoji'
            aria-haspopup='dialog'
            aria-expanded={pickerAnchor !== null}
            onClick={(event) => setPickerAnchor(pickerAnchor === null ? event.currentTarget : null)}
          >
            <Smile />
          </IconButton>
          <button
            type='submit'
            className='icon-button composer-send'
            aria-label={isEditing ? 'Save' : 'Send'}
            title={isEditing ? 'Save' : 'Send'}
            disabled={isEmpty || isTooLong}
          >
            <SendHorizontal />
          </button>
        </div>
        <p id='composer-hint' className='hidden-visually'>
          {enterSends ? 'Enter sends, Shift-Enter breaks the line.' : 'Control-Enter sends, Enter breaks the line.'}
        </p>
      </div>
      {pickerAnchor !== null && (
        <Suspense fallback={null}>
          <EmojiPicker anchor={pickerAnchor} onPick={insert} onClose={() => setPickerAnchor(null)} />
        </Suspense>
      )}
    </form>
  )
}

function ReplyContext({ message, onClose }: { readonly message: PageMessage; readonly onClose: () => void }) {
  const sender = useUser(message.sender)
  return (
    <Context
      icon={<Reply />}
      label={`Reply to ${sender?.name ?? '…'}`}
      text={describeMessage(message)}
      closeLabel='Cancel reply'
      onClose={onClose}
    />
  )
}

interface ContextProps {
  readonly icon: React.ReactNode
  readonly label: string
  readonly text: string
  readonly closeLabel: string
  readonly onClose: () => void
}

function Context({ icon, label, text, closeLabel, onClose }: ContextProps) {
  return (
    <div className='composer-context'>
      {icon}
      <span className='composer-context-text truncate'>
        <span className='composer-context-label'>{label}</span> {text}
      </span>
      <IconButton label={closeLabel} onClick={onClose}>
        <X />
      </IconButton>
    </div>
  )
}
