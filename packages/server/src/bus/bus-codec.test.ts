/**
 * Tests that every valid bus message survives encoding and decoding, and that any other bytes are
 * refused.
 */
import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { LoggedChange } from '../support/logged-change.ts'
import { BusCodec, codecLimits } from './bus-codec.ts'
import type { BusChannel, BusMessage } from './bus.ts'
import { conversation, memberChange, messageChange } from '../delivery/testing/delivery-fixture.ts'

const user = '01900000-0000-7000-8000-00000000a11c'
const other = '01900000-0000-7000-8000-00000000beef'
const room: BusChannel = `c:${conversation}`

const changes = (...list: readonly LoggedChange[]): BusMessage => ({
  kind: 'changes',
  epoch: 'epoch',
  conversation,
  changes: list,
})

const sender = new BusCodec('key')
const receiver = new BusCodec('key')

function encode(channel: BusChannel, message: BusMessage): Buffer {
  const bytes = sender.encode(channel, message)
  if (bytes === undefined) throw new Error('not encoded')
  return bytes
}

/**
 * Returns a message signed with the key, with an arbitrary header and body, as an attacker who has
 * the key could send it.
 */
function seal(channel: BusChannel, header: unknown, body = '', key = 'key', text = JSON.stringify(header)): Buffer {
  const head = Buffer.from(text)
  const bytes = Buffer.alloc(45 + head.length + Buffer.byteLength(body))
  bytes[0] = 1
  bytes.write('somebody', 1)
  bytes.writeUInt32BE(head.length, 41)
  head.copy(bytes, 45)
  bytes.write(body, 45 + head.length)
  createHmac('sha256', key)
    .update(`${channel}\n`)
    .update(bytes.subarray(0, 9))
    .update(bytes.subarray(41))
    .digest()
    .copy(bytes, 9)
  return bytes
}

describe('the bus codec', () => {
  const messages: [string, BusChannel, BusMessage][] = [
    ['changes', room, changes(messageChange(7), messageChange(8, 'Grüße 👩‍👩‍👧 \u2028'), messageChange(9))],
    ['a removal alone', room, changes(memberChange(7, 'member.left', user))],
    ['a member who joined, last', room, changes(messageChange(6), memberChange(7, 'member.joined', user))],
    ['a live value', room, { kind: 'live', conversation, json: '{"key":"typing"}' }],
    ['a membership', `u:${user}`, { kind: 'membership', user, conversation }],
    [
      'a read marker',
      `u:${user}`,
      { kind: 'read-marker', epoch: 'epoch', user, conversation, readSeq: 3, json: '{"readSeq":3}' },
    ],
    ['revoked sessions', 'all', { kind: 'revoked', sessions: [user, other] }],
    ['presence', `p:${user}`, { kind: 'presence', user }],
    ['a status', `u:${user}`, { kind: 'device', user, session: other, status: 'away' }],
    ['a list to watch', `u:${user}`, { kind: 'device', user, session: other, watched: [other] }],
  ]
  it.each(messages)('[BUS1] %s: a bus message decodes to what was encoded', (_name, channel, message) => {
    expect(receiver.decode(channel, encode(channel, message))).toEqual({ kind: 'message', message })
  })

  it('a bus recognises the messages that it sent itself', () => {
    expect(sender.decode(room, encode(room, changes(messageChange(1))))).toEqual({ kind: 'echo' })
  })

  it('[BUS1] refuses a message with any single byte changed, without throwing', () => {
    const bytes = encode(room, changes(messageChange(1), memberChange(2, 'member.left', user)))
    for (let at = 0; at < bytes.length; at++) {
      for (const flip of [0x01, 0x80]) {
        const changed = Buffer.from(bytes)
        changed[at] = (changed[at] as number) ^ flip
        expect(receiver.decode(room, changed).kind).toBe('refused')
      }
    }
  })

  it('[BUS1] refuses a truncated or extended bus message', () => {
    const bytes = encode(room, changes(messageChange(1)))
    for (let length = 0; length < bytes.length; length++)
      expect(receiver.decode(room, bytes.subarray(0, length)).kind).toBe('refused')
    expect(receiver.decode(room, Buffer.concat([bytes, Buffer.from('{}')]))).toEqual({
      kind: 'refused',
      reason: 'hmac',
    })
  })

  it('[BUS1] refuses a message with another key, version or channel', () => {
    const message = changes(messageChange(1))
    expect(new BusCodec('other').decode(room, encode(room, message))).toEqual({ kind: 'refused', reason: 'hmac' })
    const newer = encode(room, message)
    newer[0] = 2
    expect(receiver.decode(room, newer)).toEqual({ kind: 'refused', reason: 'version' })
    expect(receiver.decode(`c:${other}`, encode(room, message))).toEqual({ kind: 'refused', reason: 'hmac' })
  })

  it('[BUS1] refuses oversized messages and bytes that are no message', () => {
    for (const [bytes, reason] of [
      [Buffer.alloc(0), 'length'],
      [Buffer.from('{"kind":"changes"}'), 'length'],
      [Buffer.from(`{"kind":"changes"${' '.repeat(100)}}`), 'version'],
      [Buffer.alloc(60, 1), 'length'],
      [Buffer.alloc(2 * codecLimits.bodyMaxBytes), 'size'],
    ] as const)
      expect(receiver.decode(room, bytes)).toEqual({ kind: 'refused', reason })
  })

  const header = { kind: 'changes', epoch: 'e', conversation, first: 1, lengths: [2, 2], xids: [5, 5] }
  it.each([
    ['no JSON', undefined, '{{', 'header'],
    ['a list', [], '', 'header'],
    ['an unknown kind', { kind: 'eval' }, '', 'header'],
    ['a further field', { ...header, extra: 1 }, '{}{}', 'header'],
    ['a prototype', { ...header, ['__proto__x']: 1 }, '{}{}', 'header'],
    ['no seq', { ...header, first: 0 }, '{}{}', 'header'],
    ['a seq that is no number', { ...header, first: '1' }, '{}{}', 'header'],
    ['a seq that cannot be counted', { ...header, first: Number.MAX_SAFE_INTEGER }, '{}{}', 'length'],
    ['another conversation', { ...header, conversation: other }, '{}{}', 'channel'],
    ['too many changes', { ...header, lengths: Array(201).fill(2), xids: Array(201).fill(1) }, '', 'header'],
    ['lengths that are too short', { ...header, lengths: [2, 1] }, '{}{', 'header'],
    ['lengths beyond the body', { ...header, lengths: [2, 3] }, '{}{}', 'length'],
    ['a body beyond the lengths', header, '{}{}{}', 'length'],
    ['fewer xids', { ...header, xids: [5] }, '{}{}', 'length'],
    ['an effect that does not exist', { ...header, effect: { kind: 'promoted', user } }, '{}{}', 'header'],
    ['somebody else’s marker', { kind: 'read-marker', epoch: 'e', user, conversation, readSeq: 1 }, '{}', 'channel'],
    ['revocations in a conversation', { kind: 'revoked', sessions: [] }, '', 'channel'],
  ])('[BUS1] %s is refused, even when signed with the key', (_name, bad, body, reason) => {
    expect(receiver.decode(room, seal(room, bad, body, 'key', bad === undefined ? body : undefined))).toEqual({
      kind: 'refused',
      reason,
    })
  })

  it('[BUS1] decoding never parses the body of a message', () => {
    const decoded = receiver.decode(room, seal(room, { ...header, lengths: [5, 3] }, '{"a":no}'))
    expect(decoded).toMatchObject({ message: { changes: [{ json: '{"a":' }, { json: 'no}' }] } })
  })

  it('[ACL1] refuses to encode changes together that must leave in separate bus messages', () => {
    expect(sender.encode(room, changes(memberChange(1, 'member.left', user), messageChange(2)))).toBeUndefined()
    expect(sender.encode(room, changes(messageChange(1), messageChange(3)))).toBeUndefined()
    expect(sender.encode(room, changes())).toBeUndefined()
  })

  it('[LIM1] refuses to encode a bus message over its size limits', () => {
    const large = messageChange(1, 'x'.repeat(codecLimits.bodyMaxBytes))
    expect(sender.encode(room, changes(large))).toBeUndefined()
    const many = Array.from({ length: codecLimits.changesMax + 1 }, (_, index) => messageChange(index + 1))
    expect(sender.encode(room, changes(...many))).toBeUndefined()
    const sessions = Array.from({ length: codecLimits.sessionsMax + 1 }, () => user)
    expect(sender.encode('all', { kind: 'revoked', sessions })).toBeUndefined()
  })
})
