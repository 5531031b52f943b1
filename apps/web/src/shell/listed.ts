/**
 * Prepares the conversations for the conversation list: sorted, each with the user's newest message
 * that the server has not acknowledged.
 */
import type { ConversationSummary, OutboxItem } from '@chorus/client'
import { useOutbox } from '@chorus/react'
import { useMemo } from 'react'

export interface Listed {
  readonly conversation: ConversationSummary
  readonly waiting: OutboxItem | undefined
}

export function useListed(conversations: readonly ConversationSummary[]): readonly Listed[] {
  const outbox = useOutbox()
  return useMemo(() => listConversations(conversations, outbox), [conversations, outbox])
}

/**
 * Sorts conversations by activity, the latest first. A pending message counts as activity. Without
 * pending messages, the given order stays the same.
 */
export function listConversations(
  conversations: readonly ConversationSummary[],
  outbox: readonly OutboxItem[],
): readonly Listed[] {
  const waiting = new Map<string, OutboxItem>()
  for (const item of outbox) if (item.status.state !== 'acknowledged') waiting.set(item.conversation, item)
  const listed = conversations.map((conversation) => ({ conversation, waiting: waiting.get(conversation.id) }))
  if (waiting.size === 0) return listed
  return listed.sort((left, right) =>
    activityOf(left) < activityOf(right) ? 1 : activityOf(left) > activityOf(right) ? -1 : 0,
  )
}

/**
 * Returns the time of the last activity in a conversation, including the user's own pending
 * message.
 */
export function activityOf({ conversation, waiting }: Listed): string {
  return waiting !== undefined && waiting.createdAt > conversation.activeAt ? waiting.createdAt : conversation.activeAt
}
