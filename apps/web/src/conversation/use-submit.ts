/**
 * Submission of the composer's text: sends a new message or saves an edit. The text stays in the
 * draft until the outbox has stored the message, or the server has acknowledged the edit, so it is
 * not lost if either fails.
 */
import { limits, type Messages, type PageMessage } from '@chorus/client'
import { useChat } from '@chorus/react'
import { withEdit, withoutEdit, withoutReply } from '../drafts/draft-edits.ts'
import type { Edit } from '../drafts/drafts.ts'
import { explainError } from '../notices/explain-error.ts'
import { showNotice } from '../notices/notices.ts'
import type { DraftState } from './use-draft.ts'

interface ComposerField {
  readonly focus: () => void
  readonly stopEdit: () => void
}

/** Returns a function that submits the text in the field. It does nothing for empty or too long texts. */
export function useSubmit(conversation: string, { draft, edit, change }: DraftState, field: ComposerField): () => void {
  const { messages, typing } = useChat().conversation(conversation)

  const save = ({ seq, text: written }: Edit): void => {
    field.focus()
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

  const send = (): void => {
    typing.stop()
    const written = draft.text.trim()
    const reply = draft.replyTo === undefined ? {} : { replyTo: draft.replyTo }
    change((now) => ({ ...withoutReply(now), text: '' }), true)
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

  return () => {
    const { text } = edit ?? draft
    if (text.trim() === '' || text.length > limits.textMaxChars) return
    if (edit === undefined) {
      send()
      return
    }
    const message = findLoaded(messages, edit.seq)
    if (message?.deletedAt === null && message.text === edit.text.trim()) field.stopEdit()
    else save(edit)
  }
}

function findLoaded(messages: Messages, seq: number): PageMessage | undefined {
  const item = messages.view.get().items.find((one) => one.kind === 'message' && one.message.seq === seq)
  return item?.kind === 'message' ? item.message : undefined
}
