import type { ChatConversation } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/**
 * The handle of a conversation for the session of now. A handle belongs to one sign-in, so a change of the session is a
 * reason to render; without a session the handle is an empty one.
 */
export function useOpenConversation(id: string): ChatConversation {
  const chat = useChat()
  useObservable(chat.session)
  return chat.conversation(id)
}
