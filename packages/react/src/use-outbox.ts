import type { OutboxItem } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/**
 * Returns the user's messages that are pending, failed, or acknowledged but not yet in the
 * timeline, in the order in which they were written.
 */
export function useOutbox(): readonly OutboxItem[] {
  return useObservable(useChat().outbox)
}
