/** The conversations as the list shows them: in order, each with the newest message of mine that has not left this device. */
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

/** Keeps the order of the conversations, but for those with a message that waits: its time counts as activity. */
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

/** When the conversation was last active, for this person. */
export function activityOf({ conversation, waiting }: Listed): string {
  return waiting !== undefined && waiting.createdAt > conversation.activeAt ? waiting.createdAt : conversation.activeAt
}
