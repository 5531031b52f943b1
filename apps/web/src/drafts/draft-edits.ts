/**
 * Changes of a draft: the edits it holds and the reply it starts. Every function returns a new
 * draft and leaves the given one as it is.
 */
import { editsMax, type Draft, type Edit } from './drafts.ts'

/** Returns the edit that the composer shows: the last one that has no state. */
export function openEdit({ edits }: Draft): Edit | undefined {
  return edits?.findLast(({ state }) => state === undefined)
}

/**
 * Adds an edit at the end of the draft's edits, so that the field shows it. Replaces an earlier
 * edit of the same message.
 */
export function withEdit(draft: Draft, edit: Edit): Draft {
  return { ...draft, edits: [...(withoutEdit(draft, edit.seq).edits ?? []), edit].slice(-editsMax) }
}

export function withoutEdit(draft: Draft, seq: number | undefined): Draft {
  const { edits: before = [], ...rest } = draft
  const edits = before.filter((edit) => edit.seq !== seq)
  return edits.length === 0 ? rest : { ...rest, edits }
}

/** Starts a reply to a message. Open edits are put aside: the field shows the reply instead. */
export function withReply(draft: Draft, seq: number): Draft {
  const edits = draft.edits?.map((edit): Edit => (edit.state === undefined ? { ...edit, state: 'aside' } : edit))
  return { ...draft, replyTo: seq, ...(edits && { edits }) }
}

export function withoutReply({ replyTo: _replyTo, ...draft }: Draft): Draft {
  return draft
}
