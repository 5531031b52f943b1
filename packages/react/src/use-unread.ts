import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/** Unread messages in all conversations, for a title or a badge. */
export function useUnread(): number {
  return useObservable(useChat().unread)
}

/** Unread messages of one conversation. */
export function useConversationUnread(conversation: string): number {
  return useObservable(useOpenConversation(conversation).unread)
}
