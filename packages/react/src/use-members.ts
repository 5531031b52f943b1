import type { Member } from '@chorus/client'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/** All members of a conversation, loaded while the component is mounted; undefined until then. */
export function useMembers(conversation: string): readonly Member[] | undefined {
  return useObservable(useOpenConversation(conversation).members.list)
}
