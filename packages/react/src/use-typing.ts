import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** Ids of the others who are typing in a conversation. */
export function useTyping(conversation: string): readonly string[] {
  return useObservable(useChat().conversation(conversation).typing.users)
}
