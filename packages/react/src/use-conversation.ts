import type { ConversationSummary } from '@chorus/client'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/** One conversation as the list shows it; undefined while unknown and after leaving. */
export function useConversation(id: string): ConversationSummary | undefined {
  return useObservable(useOpenConversation(id).summary)
}
