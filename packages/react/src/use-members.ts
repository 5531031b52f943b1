import type { Member } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** All members of a conversation, loaded while the component is mounted; undefined until then. */
export function useMembers(conversation: string): readonly Member[] | undefined {
  return useObservable(useChat().conversation(conversation).members.list)
}
