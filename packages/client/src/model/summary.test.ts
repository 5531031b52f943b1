/** Tests of conversation summaries: which messages count as unread, and that none counts twice. */
import type { Change, Message } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { applyChangeToSummary, countUnreadInWindow, type SummaryState, toSummary } from './summary.ts'

const at = '2026-02-02T00:00:00.000Z'

function message(seq: number, sender: string, more: Partial<Message> = {}): Message {
  return {
    conversation: 'c',
    seq,
    version: seq,
    clientId: `${seq}`,
    sender,
    text: `text ${seq}`,
    replyTo: null,
    attachments: [],
    data: null,
    createdAt: at,
    editedAt: null,
    deletedAt: null,
    ...more,
  }
}

function created(seq: number, sender: string): Change {
  return { seq, at, actor: sender, type: 'message.created', message: message(seq, sender) }
}

function deleted(seq: number, target: number, sender: string): Change {
  return {
    seq,
    at,
    actor: sender,
    type: 'message.deleted',
    message: message(target, sender, { version: seq, text: '', deletedAt: at }),
  }
}

function state(seq: number, readSeq: number, unread: number): SummaryState {
  const summary = toSummary({
    id: '019b76da-aa74-7000-8000-000000000274',
    kind: 'group',
    name: 'Tea',
    seq,
    readSeq,
    unread,
    lastMessage: null,
    members: [],
    memberCount: 2,
    role: 'member',
  })
  return { summary, unreadAsOfSeq: seq }
}

function unreadAfter(from: SummaryState, changes: readonly Change[]): number {
  return changes.reduce((known, change) => applyChangeToSummary(known, change, 'me'), from).summary.unread
}

describe('the conversation summary', () => {
  it('[CLI1] a change of an unknown type updates only the seq of a conversation summary', () => {
    const known = state(5, 3, 2)
    const later = { seq: 6, type: 'message.later', at, actor: 'x' } as unknown as Change
    const { summary, unreadAsOfSeq } = applyChangeToSummary(known, later, 'me')
    expect(summary).toEqual({ ...known.summary, seq: 6 })
    expect(unreadAsOfSeq).toBe(6)
  })

  it('[CLI1] a summary drops the reactions of a deleted last message', () => {
    const reaction = (seq: number): Change => ({ seq, at, actor: 'x', type: 'reaction.added', target: 6, emoji: '👍' })
    const reacted = [created(6, 'x'), reaction(7)].reduce(
      (so, change) => applyChangeToSummary(so, change, 'me'),
      state(5, 5, 0),
    )
    expect(reacted.summary.lastMessage?.reactions).toHaveLength(1)
    const gone = applyChangeToSummary(reacted, deleted(8, 6, 'x'), 'me')
    expect(gone.summary.lastMessage?.reactions).toEqual([])
    // A log that is read again contains the message in its current, deleted form, so its reactions
    // are dropped too.
    const again = [created(6, 'x'), reaction(9)].reduce(
      (so, change) => applyChangeToSummary(so, change, 'me'),
      applyChangeToSummary(state(5, 5, 0), { ...deleted(6, 6, 'x'), type: 'message.created' } as Change, 'me'),
    )
    expect(again.summary.lastMessage?.reactions).toEqual([])
  })

  it('the unread count covers undeleted messages by others after the read marker', () => {
    expect(unreadAfter(state(0, 0, 0), [created(1, 'ann'), created(2, 'me'), created(3, 'ann')])).toBe(2)
    expect(unreadAfter(state(0, 0, 0), [created(1, 'ann'), deleted(2, 1, 'ann')])).toBe(0)
    expect(unreadAfter(state(0, 5, 0), [created(1, 'ann'), created(6, 'ann')])).toBe(1)
  })

  it('[CLI1] the unread count adds only messages that the server has not counted yet', () => {
    expect(unreadAfter(state(3, 0, 2), [created(2, 'ann'), created(3, 'ann'), created(4, 'ann')])).toBe(3)
    const marked = { ...state(3, 3, 0), unreadAsOfSeq: 6 }
    expect(unreadAfter(marked, [created(4, 'ann'), created(5, 'ann'), created(6, 'ann'), created(7, 'ann')])).toBe(1)
  })

  it('[LIM1] the unread count stops at the server’s limit', () => {
    expect(unreadAfter(state(1_000, 0, 1_000), [created(1_001, 'ann')])).toBe(1_000)
    expect(unreadAfter(state(1_000, 0, 1_000), [deleted(1_001, 5, 'ann')])).toBe(1_000)
  })

  it('the activity time of a conversation without messages comes from its id', () => {
    const { summary } = state(0, 0, 0)
    expect(summary.activeAt).toBe(new Date(0x019b76daaa74).toISOString())
    expect(applyChangeToSummary(state(0, 0, 0), created(1, 'ann'), 'me').summary.activeAt).toBe(at)
  })

  it('unread messages are counted locally only if enough messages are loaded', () => {
    const entries = [4, 5, 6].map((seq) => ({ message: { ...message(seq, 'ann'), reactions: [] }, asOfSeq: seq }))
    const summary = { ...state(6, 0, 3).summary, lastMessage: entries[2]?.message ?? null }
    const window = { entries, hasBefore: true, hasAfter: false }
    expect(countUnreadInWindow(summary, window, 4, 'me')).toBe(2)
    expect(countUnreadInWindow(summary, window, 6, 'me')).toBe(0)
    expect(countUnreadInWindow(summary, window, 1, 'me')).toBeUndefined()
    expect(countUnreadInWindow(summary, { ...window, hasBefore: false }, 1, 'me')).toBe(3)
    expect(countUnreadInWindow(summary, undefined, 4, 'me')).toBeUndefined()
    expect(countUnreadInWindow(summary, undefined, 6, 'me')).toBe(0)
  })

  it('a summary applies changes of name, roles and members', () => {
    const changes: Change[] = [
      {
        seq: 1,
        at,
        actor: 'ann',
        type: 'conversation.updated',
        conversation: { id: 'c', kind: 'group', name: 'Coffee' },
      },
      { seq: 2, at, actor: 'ann', type: 'member.joined', user: 'bob', role: 'member' },
      { seq: 3, at, actor: 'ann', type: 'member.updated', user: 'me', role: 'moderator' },
      { seq: 4, at, actor: 'ann', type: 'member.left', user: 'bob', role: 'member' },
    ]
    const { summary } = changes.reduce((known, change) => applyChangeToSummary(known, change, 'me'), state(0, 0, 0))
    expect(summary).toMatchObject({ name: 'Coffee', memberCount: 2, role: 'moderator', seq: 4 })
  })
})
