import type { TimelineView } from '@chorus/client'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/** What is loaded of a conversation, waiting messages last. Loads the newest page when first used. */
export function useMessages(conversation: string): TimelineView {
  return useObservable(useOpenConversation(conversation).messages.view)
}
