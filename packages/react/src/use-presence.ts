import type { Presence } from '@chorus/client'
import { useMemo } from 'react'
import { useChat } from './chat-provider.tsx'
import { nothing, useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/**
 * Returns the presence of a user, watched while the component is mounted. Undefined without an id.
 */
export function usePresence(user: string | undefined): Presence | undefined {
  const { presence } = useChat()
  return useObservable(useMemo(() => (user === undefined ? nothing : presence.observe(user)), [presence, user]))
}

/** Returns the presence of the members listed in a conversation's summary, by user id. */
export function useConversationPresence(conversation: string): ReadonlyMap<string, Presence> {
  return useObservable(useOpenConversation(conversation).presence)
}
