import type { OutboxStatus, PageMessage, TimelineItem } from '@chorus/client'
import { describe, expect, it } from 'vitest'
import { buildRows, markOf, readByOthers } from './rows.ts'

const me = 'me'

function message(seq: number, sender: string, createdAt: string, extra: Partial<PageMessage> = {}): TimelineItem {
  const full: PageMessage = {
    conversation: 'c',
    seq,
    version: seq,
    clientId: `id-${seq}`,
    sender,
    text: `message ${seq}`,
    replyTo: null,
    attachments: [],
    data: null,
    createdAt,
    editedAt: null,
    deletedAt: null,
    reactions: [],
    ...extra,
  }
  return { kind: 'message', key: full.clientId, message: full, isMine: sender === me }
}

function pending(
  clientId: string,
  createdAt: string,
  status: OutboxStatus = { state: 'pending', attempts: 0 },
): TimelineItem {
  return {
    kind: 'pending',
    key: clientId,
    item: { clientId, conversation: 'c', draft: { text: 'soon' }, createdAt, status },
  }
}

const shape = (items: readonly TimelineItem[], options: { unreadAfter?: number; timeZone?: string } = {}): string[] =>
  buildRows(items, { me, timeZone: 'UTC', ...options }).map((row) =>
    [
      row.key,
      row.startsDay ? 'day' : '',
      row.startsUnread ? 'unread' : '',
      row.startsGroup ? 'first' : '',
      row.endsGroup ? 'last' : '',
    ]
      .filter((part) => part !== '')
      .join(' '),
  )

describe('groups of messages', () => {
  it('messages of one sender within five minutes form a group', () => {
    const items = [
      message(1, 'ada', '2026-11-22T10:00:00Z'),
      message(2, 'ada', '2026-11-22T10:05:00Z'),
      message(3, 'ada', '2026-11-22T10:10:01Z'),
      message(4, 'bob', '2026-11-22T10:10:02Z'),
    ]
    expect(shape(items)).toEqual(['id-1 day first', 'id-2 last', 'id-3 first last', 'id-4 first last'])
  })

  it('a pending message joins the group of my last message despite clock skew', () => {
    const items = [message(1, me, '2026-11-22T10:00:00Z'), pending('p', '2026-11-22T09:59:00Z')]
    expect(shape(items)).toEqual(['id-1 day first', 'p last'])
  })

  it('an acknowledged message is grouped by the server’s time', () => {
    const status: OutboxStatus = { state: 'acknowledged', seq: 2, createdAt: '2026-11-22T10:01:00Z' }
    const items = [message(1, me, '2026-11-22T10:00:00Z'), pending('p', '2030-01-01T00:00:00Z', status)]
    expect(shape(items)).toEqual(['id-1 day first', 'p last'])
  })
})

describe('day dividers', () => {
  const items = [message(1, 'ada', '2026-11-21T23:30:00Z'), message(2, 'ada', '2026-11-22T00:10:00Z')]

  it('a day divider precedes the first message of each day', () => {
    expect(
      shape([items[0]!, message(2, 'ada', '2026-11-21T23:31:00Z'), message(3, 'ada', '2026-11-22T00:00:00Z')]),
    ).toEqual(['id-1 day first', 'id-2 last', 'id-3 day first last'])
  })

  it('day dividers follow the time zone of the reader', () => {
    expect(shape(items, { timeZone: 'UTC' }).filter((row) => row.includes('day'))).toHaveLength(2)
    expect(shape(items, { timeZone: 'Asia/Tokyo' }).filter((row) => row.includes('day'))).toHaveLength(1)
  })
})

describe('the unread line', () => {
  const at = '2026-11-22T10:00:00Z'

  it('the unread line precedes the first unread message of another member', () => {
    const items = [message(1, 'ada', at), message(2, me, at), message(3, 'ada', at), message(4, 'ada', at)]
    expect(shape(items, { unreadAfter: 1 })).toEqual([
      'id-1 day first last',
      'id-2 first last',
      'id-3 unread first',
      'id-4 last',
    ])
  })

  it('my own and deleted messages get no unread line', () => {
    const items = [message(1, 'ada', at), message(2, me, at), message(3, 'ada', at, { deletedAt: at })]
    expect(shape(items, { unreadAfter: 1 }).join()).not.toContain('unread')
    expect(shape(items).join()).not.toContain('unread')
  })
})

describe('delivery marks', () => {
  it('my message is marked as sending, sent, read or failed', () => {
    const at = '2026-11-22T10:00:00Z'
    expect(markOf(pending('p', at), 0)).toBe('sending')
    expect(markOf(pending('p', at, { state: 'acknowledged', seq: 3, createdAt: at }), 9)).toBe('sent')
    const error = { code: 'too-large', message: 'unable to send; too large', retry: 'never' } as const
    expect(markOf(pending('p', at, { state: 'failed', error }), 9)).toBe('failed')
    expect(markOf(message(3, me, at), 2)).toBe('sent')
    expect(markOf(message(3, me, at), 3)).toBe('read')
  })

  it('only the read markers of other members mark a message as read', () => {
    expect(
      readByOthers(
        new Map([
          ['me', 9],
          ['ada', 4],
          ['bob', 7],
        ]),
        me,
      ),
    ).toBe(7) // prettier-ignore
    expect(readByOthers(new Map(), me)).toBe(0)
  })
})
