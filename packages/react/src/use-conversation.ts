import type { ConversationSummary } from '@chorus/client'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/**
 * Returns the summary of a conversation, or undefined while it is not loaded and after the user
 * left.
 */
export function useConversation(id: string): ConversationSummary | undefined {
  return useObservable(useOpenConversation(id).summary)
}
