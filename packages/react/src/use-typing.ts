import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/** Ids of the others who are typing in a conversation. */
export function useTyping(conversation: string): readonly string[] {
  return useObservable(useOpenConversation(conversation).typing.users)
}
