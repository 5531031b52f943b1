import type { ConversationSummary } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** One conversation as the list shows it; undefined while unknown and after leaving. */
export function useConversation(id: string): ConversationSummary | undefined {
  return useObservable(useChat().conversation(id).summary)
}
