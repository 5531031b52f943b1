import type { ChatConversation } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/**
 * Returns the conversation object of the current session. The object belongs to one sign-in, so the
 * component renders again when the session changes. Without a session the object is empty.
 */
export function useOpenConversation(id: string): ChatConversation {
  const chat = useChat()
  useObservable(chat.session)
  return chat.conversation(id)
}
