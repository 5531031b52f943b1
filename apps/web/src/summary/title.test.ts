import type { Conversation, Member } from '@chorus/client'
import { describe, expect, it } from 'vitest'
import { describeMessage, describeTyping, formatCount, partnerOf, titleOf } from './title.ts'

const member = (id: string, name: string): Member => ({
  user: { id, handle: id, name, avatar: null, bot: false },
  role: 'member',
  joinedSeq: 1,
  readSeq: 0,
})
const of = (kind: Conversation['kind'], name: string | null, ...members: Member[]) => ({
  kind,
  name,
  members,
  memberCount: members.length,
})
const me = member('me', 'Me Myself')
const ada = member('ada', 'Ada Lovelace')
const bob = member('bob', 'Bob')

describe('conversation titles', () => {
  it('a direct conversation is named after the other person', () => {
    expect(titleOf(of('direct', null, me, ada), 'me')).toBe('Ada Lovelace')
    expect(partnerOf(of('direct', null, me, ada), 'me')?.id).toBe('ada')
    expect(titleOf(of('direct', null, me), 'me')).toBe('Me Myself')
    expect(titleOf(of('direct', null), 'me')).toBe('Someone')
  })

  it('a group without a name is named after its members', () => {
    expect(titleOf(of('channel', 'general', me), 'me')).toBe('general')
    expect(titleOf(of('group', null, me, ada, bob), 'me')).toBe('Ada, Bob')
    expect(titleOf({ ...of('group', null, me, ada, bob), memberCount: 9 }, 'me')).toBe('Ada, Bob and 6 more')
    expect(titleOf(of('group', null, me), 'me')).toBe('Just you')
  })
})

describe('descriptions for the conversation list', () => {
  it('a message is described in one line', () => {
    expect(describeMessage({ text: 'a\n**b**', deletedAt: null, attachments: [] })).toBe('a b')
    expect(describeMessage({ text: '', deletedAt: '2026-11-22T10:00:00Z', attachments: [] })).toBe('Message deleted')
    expect(describeMessage({ text: '', deletedAt: null, attachments: ['x'] })).toBe('Attachment')
  })

  it('a description of typing members names at most two people', () => {
    expect(describeTyping([])).toBe('')
    expect(describeTyping(['Ada'])).toBe('Ada is typing')
    expect(describeTyping(['Ada', 'Bob'])).toBe('Ada and Bob are typing')
    expect(describeTyping(['Ada', 'Bob', 'Eve'])).toBe('Several people are typing')
  })

  it('a badge shows a number above 99 as 99+', () => {
    expect([1, 99, 100].map(formatCount)).toEqual(['1', '99', '99+'])
  })
})
