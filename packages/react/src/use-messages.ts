import type { TimelineView } from '@chorus/client'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/**
 * Returns the loaded messages of a conversation, pending ones last. The first use loads the newest
 * page.
 */
export function useMessages(conversation: string): TimelineView {
  return useObservable(useOpenConversation(conversation).messages.view)
}
