import type { ConversationSummary, OutboxItem, OutboxStatus } from '@chorus/client'
import { describe, expect, it } from 'vitest'
import { activityOf, listConversations } from './listed.ts'

function conversation(id: string, activeAt: string): ConversationSummary {
  return {
    id,
    kind: 'group',
    name: id,
    role: 'member',
    members: [],
    memberCount: 2,
    seq: 3,
    readSeq: 3,
    unread: 0,
    lastMessage: null,
    activeAt,
  }
}

function item(id: string, createdAt: string, status: OutboxStatus = { state: 'pending', attempts: 0 }): OutboxItem {
  return { clientId: `${id}-${createdAt}`, conversation: id, draft: { text: 'soon' }, createdAt, status }
}

const names = (listed: ReturnType<typeof listConversations>): string[] => listed.map((one) => one.conversation.id)
const conversations = [
  conversation('newest', '2026-11-22T12:00:00Z'),
  conversation('older', '2026-11-22T11:00:00Z'),
  conversation('oldest', '2026-11-22T10:00:00Z'),
]

describe('the conversation list with pending messages', () => {
  it('[STALE1] the conversation list keeps its order while no message is pending', () => {
    expect(names(listConversations(conversations, []))).toEqual(['newest', 'older', 'oldest'])
  })

  it('[STALE1] a pending message moves its conversation up the list', () => {
    const listed = listConversations(conversations, [item('oldest', '2026-11-22T13:00:00Z')])
    expect(names(listed)).toEqual(['oldest', 'newest', 'older'])
    expect(listed[0]?.waiting?.draft.text).toBe('soon')
    expect(activityOf(listed[0]!)).toBe('2026-11-22T13:00:00Z')
  })

  it('[STALE1] a conversation shows its newest pending message, never an acknowledged one', () => {
    const acknowledged: OutboxStatus = { state: 'acknowledged', seq: 4, createdAt: '2026-11-22T13:00:00Z' }
    const listed = listConversations(conversations, [
      item('older', '2026-11-22T11:10:00Z'),
      item('older', '2026-11-22T11:20:00Z'),
      item('oldest', '2026-11-22T13:00:00Z', acknowledged),
    ])
    expect(names(listed)).toEqual(['newest', 'older', 'oldest'])
    expect(listed[1]?.waiting?.createdAt).toBe('2026-11-22T11:20:00Z')
    expect(listed[2]?.waiting).toBeUndefined()
  })

  it('[STALE1] an old pending message does not move its conversation down the list', () => {
    expect(names(listConversations(conversations, [item('newest', '2020-01-01T00:00:00Z')]))[0]).toBe('newest')
  })
})
