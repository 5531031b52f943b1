import type { TimelineView } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** What is loaded of a conversation, waiting messages last. Loads the newest page when first used. */
export function useMessages(conversation: string): TimelineView {
  return useObservable(useChat().conversation(conversation).messages.view)
}
