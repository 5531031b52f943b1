/**
 * Message composer. Typed text, a started reply and edits are kept as a draft of the conversation
 * until the outbox has stored the message, or the server has stored the edit. All tabs share the
 * draft. Enter sends (a setting swaps Enter and Control-Enter). ↑ in an empty field edits the
 * user's last message. Escape cancels an edit or a reply, and nothing else.
 */
import { limits, type PageMessage, type TimelineItem } from '@chorus/client'
import { useChat, useUser } from '@chorus/react'
import { Pencil, Reply, SendHorizontal, Smile, X } from 'lucide-react'
import { Suspense, useCallback, useImperativeHandle, useRef, useState, type KeyboardEvent, type Ref } from 'react'
import { withEdit, withoutEdit, withoutReply, withReply } from '../drafts/draft-edits.ts'
import { useEnterSends } from '../preferences/enter-key.ts'
import { IconButton } from '../ui/icon-button.tsx'
import { isComposing } from '../ui/keys.ts'
import { MissingOverlay, part } from '../ui/part.tsx'
import { useDraft } from './use-draft.ts'
import { useFittedHeight } from './use-fitted-height.ts'
import { describeFound, useMessage } from './use-message.ts'
import { useSubmit } from './use-submit.ts'
import './composer.css'

const EmojiPicker = part(async () => (await import('../emoji/emoji-picker.tsx')).EmojiPicker, MissingOverlay)

export interface ComposerHandle {
  readonly focus: () => void
  readonly reply: (message: PageMessage) => void
  readonly edit: (message: PageMessage) => void
}

interface ComposerProps {
  readonly conversation: string
  readonly title: string
  readonly ref: Ref<ComposerHandle>
}

const linesMax = 8
const counterFrom = limits.textMaxChars - 500

export function Composer({ conversation, title, ref }: ComposerProps) {
  const chat = useChat()
  const enterSends = useEnterSends()
  const { messages, typing } = chat.conversation(conversation)
  const field = useRef<HTMLTextAreaElement>(null)
  const { draft, edit, change } = useDraft(conversation)
  const [pickerAnchor, setPickerAnchor] = useState<Element | null>(null)
  const { text } = edit ?? draft
  const isTooLong = text.length > limits.textMaxChars
  const isEmpty = text.trim() === ''
  useFittedHeight(field, text, linesMax)

  const focus = useCallback((): void => field.current?.focus(), [])
  const startEdit = useCallback(
    ({ seq, text: present }: PageMessage): void => {
      change((now) => withEdit(now, { seq, text: now.edits?.find((begun) => begun.seq === seq)?.text ?? present }))
      focus()
      requestAnimationFrame(() => field.current?.setSelectionRange(-1, -1))
    },
    [change, focus],
  )
  useImperativeHandle(
    ref,
    () => ({
      focus,
      edit: startEdit,
      reply: ({ seq }) => {
        change((now) => withReply(now, seq))
        focus()
      },
    }),
    [change, focus, startEdit],
  )
  const stopEdit = (): void => {
    change((now) => withoutEdit(now, edit?.seq))
    focus()
  }
  const stopReply = (): void => change(withoutReply)
  const submit = useSubmit(conversation, { draft, edit, change }, { focus, stopEdit })

  const write = (next: string): void => {
    if (edit !== undefined) return change((now) => withEdit(now, { seq: edit.seq, text: next }))
    change((now) => ({ ...now, text: next }))
    if (next.trim() === '') typing.stop()
    else typing.start()
  }

  const insert = (emoji: string): void => {
    const [from, to] = selectionOf(field.current, text)
    write(text.slice(0, from) + emoji + text.slice(to))
    requestAnimationFrame(() => {
      focus()
      field.current?.setSelectionRange(from + emoji.length, from + emoji.length)
    })
  }

  const pressKey = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    if (isComposing(event.nativeEvent)) return
    if (event.key === 'Enter') {
      const isSend = enterSends ? !event.shiftKey : event.ctrlKey || event.metaKey
      if (!isSend) return
      event.preventDefault()
      submit()
    } else if (event.key === 'ArrowUp' && text === '' && edit === undefined && !event.altKey) {
      const last = findLastOwn(messages.view.get().items)
      if (last === undefined) return
      event.preventDefault()
      startEdit(last)
    } else if (event.key === 'Escape' && (edit ?? draft.replyTo) !== undefined) {
      event.preventDefault()
      if (edit === undefined) stopReply()
      else stopEdit()
    }
  }

  const label = edit === undefined ? `Message ${title}` : 'Edit message'
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
        {edit !== undefined && <EditContext conversation={conversation} seq={edit.seq} onClose={stopEdit} />}
        {edit === undefined && draft.replyTo !== undefined && (
          <ReplyContext conversation={conversation} seq={draft.replyTo} onClose={stopReply} />
        )}
        <div className='composer-box'>
          <textarea
            ref={field}
            className='composer-text scrolls'
            rows={1}
            value={text}
            placeholder={label}
            aria-label={label}
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
            aria-label={edit === undefined ? 'Send' : 'Save'}
            title={edit === undefined ? 'Send' : 'Save'}
            disabled={isEmpty || isTooLong}
          >
            <SendHorizontal />
          </button>
        </div>
        <p id='composer-hint' className='hidden-visually'>
          {enterSends ? 'Enter sends, Shift-Enter starts a new line.' : 'Control-Enter sends, Enter starts a new line.'}
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

/** Returns the start and the end of the selection, or the end of the text if nothing is selected. */
function selectionOf(field: HTMLTextAreaElement | null, text: string): readonly [number, number] {
  return [field?.selectionStart ?? text.length, field?.selectionEnd ?? text.length]
}

/** Returns the user's last loaded message that is not deleted. */
function findLastOwn(items: readonly TimelineItem[]): PageMessage | undefined {
  const last = items.findLast((item) => item.kind === 'message' && item.isMine && item.message.deletedAt === null)
  return last?.kind === 'message' ? last.message : undefined
}

interface AboutMessageProps {
  readonly conversation: string
  readonly seq: number
  readonly onClose: () => void
}

function EditContext({ conversation, seq, onClose }: AboutMessageProps) {
  const message = useMessage(conversation, seq)
  return (
    <Context
      icon={<Pencil />}
      label='Editing'
      text={describeFound(message)}
      closeLabel='Cancel editing'
      onClose={onClose}
    />
  )
}

function ReplyContext({ conversation, seq, onClose }: AboutMessageProps) {
  const message = useMessage(conversation, seq)
  const sender = useUser(message === 'missing' ? undefined : message?.sender)
  return (
    <Context
      icon={<Reply />}
      label={`Reply to ${sender?.name ?? '…'}`}
      text={describeFound(message)}
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
