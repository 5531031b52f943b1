/**
 * Message composer. Typed text, a started reply and edits are kept as a draft of the conversation
 * until the outbox has stored the message, or the server has stored the edit. All tabs share the
 * draft. Enter sends (a setting swaps Enter and Control-Enter). ↑ in an empty field edits the
 * user's last message. Escape cancels an edit or a reply, and nothing else.
 */
import { limits, type PageMessage } from '@chorus/client'
import { useChat, useUser } from '@chorus/react'
import { Pencil, Reply, SendHorizontal, Smile, X } from 'lucide-react'
import {
  Suspense,
  useCallback,
  useEffect,
  useImperativeHandle,
  useLayoutEffect,
  useRef,
  useState,
  useSyncExternalStore,
  type KeyboardEvent,
  type Ref,
} from 'react'
import { editsMax, type Draft, type Edit } from '../drafts/drafts.ts'
import { explainError } from '../notices/explain-error.ts'
import { showNotice } from '../notices/notices.ts'
import { useMe } from '../people/me.tsx'
import { useEnterSends } from '../preferences/enter-key.ts'
import { IconButton } from '../ui/icon-button.tsx'
import { isComposing } from '../ui/keys.ts'
import { MissingOverlay, part } from '../ui/part.tsx'
import { describeFound, useMessage } from './use-message.ts'
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
  const { drafts } = useMe()
  const enterSends = useEnterSends()
  const { messages, typing } = chat.conversation(conversation)
  const field = useRef<HTMLTextAreaElement>(null)
  const draft = useSyncExternalStore(drafts.subscribe, () => drafts.read(conversation))
  const [pickerAnchor, setPickerAnchor] = useState<Element | null>(null)
  const edit = openEdit(draft)
  const { text } = edit ?? draft
  const isTooLong = text.length > limits.textMaxChars
  const isEmpty = text.trim() === ''

  const change = useCallback(
    (how: (draft: Draft) => Draft, isLeaving?: boolean): void =>
      drafts.write(conversation, how(drafts.read(conversation)), isLeaving),
    [drafts, conversation],
  )
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
        change((now) => ({
          ...now,
          replyTo: seq,
          ...(now.edits && {
            edits: now.edits.map((one) => (one.state === undefined ? { ...one, state: 'aside' } : one)),
          }),
        }))
        focus()
      },
    }),
    [change, focus, startEdit],
  )

  const fit = useCallback((): void => {
    const element = field.current
    if (element === null) return
    element.style.height = 'auto'
    const lineHeight = Number.parseFloat(getComputedStyle(element).lineHeight)
    const padding = element.offsetHeight - element.clientHeight + 18
    element.style.height = `${Math.min(element.scrollHeight, lineHeight * linesMax + padding)}px`
  }, [])
  useLayoutEffect(fit, [fit, text])
  // A new width of the field wraps the text differently, so its height must be computed again.
  useEffect(() => {
    const element = field.current
    if (element === null) return
    let { clientWidth } = element
    const observer = new ResizeObserver(() => {
      if (element.clientWidth === clientWidth) return
      clientWidth = element.clientWidth
      fit()
    })
    observer.observe(element)
    return () => observer.disconnect()
  }, [fit])

  const write = (next: string): void => {
    if (edit !== undefined) {
      change((now) => withEdit(now, { seq: edit.seq, text: next }))
      return
    }
    change((now) => ({ ...now, text: next }))
    if (next.trim() === '') typing.stop()
    else typing.start()
  }

  const stopEdit = (): void => {
    change((now) => withoutEdit(now, edit?.seq))
    focus()
  }
  const stopReply = (): void => change(({ replyTo: _replyTo, ...now }) => now)

  const save = ({ seq, text: written }: Edit): void => {
    focus()
    // Clear the field at once. The draft keeps the edit until the server has acknowledged it, so
    // the text is not lost if the server refuses it.
    change((now) => withEdit(now, { seq, text: written, state: 'saving' }))
    const isThis = (one: Edit): boolean => one.seq === seq && one.text === written && one.state === 'saving'
    messages.edit(seq, written.trim()).then(
      () => change((now) => (now.edits?.some(isThis) === true ? withoutEdit(now, seq) : now)),
      (error: unknown) => {
        change((now) => (now.edits?.some(isThis) === true ? withEdit(now, { seq, text: written }) : now))
        showNotice({ tone: 'error', text: `Couldn’t edit. ${explainError(error)}` })
      },
    )
  }

  const submit = (): void => {
    if (isEmpty || isTooLong) return
    if (edit !== undefined) {
      const message = findLoaded(edit.seq)
      if (message?.deletedAt === null && message.text === edit.text.trim()) stopEdit()
      else save(edit)
      return
    }
    typing.stop()
    const written = text.trim()
    const { replyTo } = draft
    const reply = replyTo === undefined ? {} : { replyTo }
    change(({ replyTo: _replyTo, ...now }) => ({ ...now, text: '' }), true)
    messages.send({ text: written, ...reply }).then(
      ({ acknowledged }) => {
        change((now) => now)
        // Ignore a refusal by the server here: the message in the list shows it.
        return acknowledged.catch(() => undefined)
      },
      (error: unknown) => {
        // The outbox could not store the message: put its text back into the field, before any text
        // typed since.
        change((now) => ({ ...reply, ...now, text: now.text.trim() === '' ? written : `${written}\n${now.text}` }))
        showNotice({ tone: 'error', text: `Couldn’t send. ${explainError(error)}` })
      },
    )
  }

  const findLoaded = (seq: number): PageMessage | undefined => {
    const item = messages.view.get().items.find((one) => one.kind === 'message' && one.message.seq === seq)
    return item?.kind === 'message' ? item.message : undefined
  }

  const editLast = (): boolean => {
    const mine = messages.view
      .get()
      .items.findLast((item) => item.kind === 'message' && item.isMine && item.message.deletedAt === null)
    if (mine?.kind !== 'message') return false
    startEdit(mine.message)
    return true
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
    if (isComposing(event.nativeEvent)) return
    if (event.key === 'Enter') {
      const hasControl = event.ctrlKey || event.metaKey
      const sends = enterSends ? !event.shiftKey : hasControl
      if (!sends) return
      event.preventDefault()
      submit()
    } else if (event.key === 'ArrowUp' && text === '' && edit === undefined && !event.altKey) {
      if (editLast()) event.preventDefault()
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

function openEdit({ edits }: Draft): Edit | undefined {
  return edits?.findLast(({ state }) => state === undefined)
}

function withoutEdit(draft: Draft, seq: number | undefined): Draft {
  const { edits: before = [], ...rest } = draft
  const edits = before.filter((edit) => edit.seq !== seq)
  return edits.length === 0 ? rest : { ...rest, edits }
}

/**
 * Adds an edit at the end of the draft's edits, so that the field shows it. Replaces an earlier
 * edit of the same message.
 */
function withEdit(draft: Draft, edit: Edit): Draft {
  return { ...draft, edits: [...(withoutEdit(draft, edit.seq).edits ?? []), edit].slice(-editsMax) }
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
