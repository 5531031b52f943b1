import type { Member } from '@chorus/client'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/**
 * Returns all members of a conversation, or undefined until they are loaded. The first component
 * that uses the hook starts the load.
 */
export function useMembers(conversation: string): readonly Member[] | undefined {
  return useObservable(useOpenConversation(conversation).members.list)
}
