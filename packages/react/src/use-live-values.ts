import type { LiveValue } from '@chorus/client'
import { useMemo } from 'react'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/**
 * Returns the latest live value of each user for a key of a conversation, by user id. The key is
 * `location`, or a key that the application has chosen. Expired values are removed.
 */
export function useLiveValues(conversation: string, key: string): ReadonlyMap<string, LiveValue> {
  const { live } = useOpenConversation(conversation)
  return useObservable(useMemo(() => live.observe(key), [live, key]))
}
