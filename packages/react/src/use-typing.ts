import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/** Returns the ids of the other users who are typing in a conversation. */
export function useTyping(conversation: string): readonly string[] {
  return useObservable(useOpenConversation(conversation).typing.users)
}
