import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/** Returns the seq up to which each member has read, by user id. */
export function useReadMarkers(conversation: string): ReadonlyMap<string, number> {
  return useObservable(useOpenConversation(conversation).readMarkers)
}
