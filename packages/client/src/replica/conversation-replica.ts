/**
 * One conversation of the local copy: its timeline, its summary, and the state of running reads.
 */
import type { ConversationSummary } from '../model/api-conversation.ts'
import type { SummaryState } from '../model/summary.ts'
import { Timeline } from '../model/timeline.ts'
import { type Cell, createCell } from '../support/observable.ts'

/** The page of messages that is being loaded. */
export type Loading = 'nothing' | 'newest' | 'older' | 'newer' | 'around'

export interface ConversationReplica {
  readonly id: string
  timeline: Timeline
  state: SummaryState | undefined
  readonly summary: Cell<ConversationSummary | undefined>
  /** Listeners to call when the loaded messages or `loading` have changed. */
  readonly changed: Set<() => void>
  loading: Loading
  /** True while a listener shows the messages, so that they stay in memory. */
  isShown: boolean
  isLeft: boolean
  /** True when the stored data was incomplete. The summary is requested at the next connection. */
  isUnsure: boolean
  /** True while missing changes are being read, or will be after a delay. */
  isRepairing: boolean
  /** True while the summary is being requested. */
  isRequesting: boolean
  /** Number of conversation objects from the server that were merged into the summary. */
  merges: number
}

export function createConversationReplica(
  id: string,
  me: string,
  onError: (error: unknown) => void,
): ConversationReplica {
  return {
    id,
    timeline: new Timeline({ me, appliedSeq: 0 }),
    state: undefined,
    summary: createCell<ConversationSummary | undefined>(undefined, { onError }),
    changed: new Set(),
    loading: 'nothing',
    isShown: false,
    isLeft: false,
    isUnsure: false,
    isRepairing: false,
    isRequesting: false,
    merges: 0,
  }
}

/** Calls the `changed` listeners of a conversation. */
export function notifyChanged({ changed }: ConversationReplica): void {
  for (const notify of [...changed]) notify()
}
