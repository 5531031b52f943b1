/** Draft of a conversation, which all tabs share. A component that uses it renders again on each change. */
import { useCallback, useSyncExternalStore } from 'react'
import { openEdit } from '../drafts/draft-edits.ts'
import type { Draft, Edit } from '../drafts/drafts.ts'
import { useMe } from '../people/me.tsx'

export interface DraftState {
  readonly draft: Draft
  /** Edit that the field shows, or undefined while the user writes a new message. */
  readonly edit: Edit | undefined
  /** Changes the newest draft. `isLeaving`: see `Drafts.write`. */
  readonly change: (how: (draft: Draft) => Draft, isLeaving?: boolean) => void
}

export function useDraft(conversation: string): DraftState {
  const { drafts } = useMe()
  const draft = useSyncExternalStore(drafts.subscribe, () => drafts.read(conversation))
  const change = useCallback(
    (how: (draft: Draft) => Draft, isLeaving?: boolean): void =>
      drafts.write(conversation, how(drafts.read(conversation)), isLeaving),
    [drafts, conversation],
  )
  return { draft, edit: openEdit(draft), change }
}
