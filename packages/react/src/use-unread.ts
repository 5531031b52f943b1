import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/** Returns the number of unread messages in all conversations, for a page title or a badge. */
export function useUnread(): number {
  return useObservable(useChat().unread)
}

/** Returns the number of unread messages in one conversation. */
export function useConversationUnread(conversation: string): number {
  return useObservable(useOpenConversation(conversation).unread)
}
