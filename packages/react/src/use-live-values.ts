import type { LiveValue } from '@chorus/client'
import { useMemo } from 'react'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/** The newest values under a key of a conversation (`location`, or one of your own) by user id, without those that have expired. */
export function useLiveValues(conversation: string, key: string): ReadonlyMap<string, LiveValue> {
  const { live } = useOpenConversation(conversation)
  return useObservable(useMemo(() => live.observe(key), [live, key]))
}
