import type { CardState, Message } from '@chorus/client'
import { useMemo } from 'react'
import { useObservable } from './use-observable.ts'
import { useOpenConversation } from './use-open-conversation.ts'

/**
 * Returns whether the card of a message is genuine, and its signed content. Undefined for a message
 * without a card. Show only a card of the state `verified`.
 */
export function useCard(message: Message): CardState | undefined {
  const { messages } = useOpenConversation(message.conversation)
  return useObservable(useMemo(() => messages.card(message), [messages, message]))
}
