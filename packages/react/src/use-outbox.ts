import type { OutboxItem } from '@chorus/client'
import { useChat } from './chat-provider.tsx'
import { useObservable } from './use-observable.ts'

/** Messages of mine that are waiting, failed, or were acknowledged a moment ago, in the order of writing. */
export function useOutbox(): readonly OutboxItem[] {
  return useObservable(useChat().outbox)
}
