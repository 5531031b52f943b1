import type { ConversationSummary } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** Returns the user's conversations, the most recently active first. */
export function useConversations(): readonly ConversationSummary[] {
  return useObservable(useChat().conversations)
}
