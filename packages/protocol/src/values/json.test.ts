/**
 * Tests that unstorable values are refused on input: one bad string would fail a whole batch of
 * other users' messages.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { findChannels } from '../commands/conversations/find-channels.ts'
import { findUsers } from '../commands/users/find-users.ts'
import { sendMessage } from '../commands/messages/send-message.ts'
import { limits } from '../limits.ts'
import { findJsonFault } from './json.ts'
import { isStorableText, messageTextSchema, nameSchema } from './text.ts'

const conversation = '0190a0a0-0000-7000-8000-000000000001'
const clientId = '0190a0a0-0000-4000-8000-000000000002'
const send = (fields: object) =>
  sendMessage.input.safeParse({ conversation, clientId, text: 'hello', ...fields }).success

describe('message texts and names', () => {
  it.each(['a\u0000b', '\ud800', 'x\udc00y', '\ud83d'])('[BAD1] %j is refused in message texts and names', (text) => {
    expect(messageTextSchema.safeParse(text).success).toBe(false)
    expect(nameSchema.safeParse(text).success).toBe(false)
    expect(send({ text })).toBe(false)
  })

  it('[BAD1] a message text may be any text without NUL that UTF-8 can encode', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const survives = new TextDecoder().decode(new TextEncoder().encode(text)) === text && !text.includes('\u0000')
        expect(isStorableText(text)).toBe(survives)
      }),
    )
  })

  it('[NAME1] names are normalized to NFC, message texts are not', () => {
    expect(nameSchema.parse('Zoe\u0301')).toBe('Zoé')
    expect(findUsers.input.parse({ q: 'Zoe\u0301' }).q).toBe('Zoé')
    expect(findChannels.input.parse({ q: 'Zoe\u0301' }).q).toBe('Zoé')
    expect(messageTextSchema.parse('Zoe\u0301')).toBe('Zoe\u0301')
    // The length of a name is measured after normalization.
    expect(nameSchema.safeParse('e\u0301'.repeat(limits.nameMaxChars)).success).toBe(true)
  })

  it('names with line breaks or direction overrides are refused', () => {
    for (const name of ['a\nb', 'evil\u202egpj', '   ', '\u0007', ''])
      expect(nameSchema.safeParse(name).success).toBe(false)
    for (const name of ['Ada', 'Zoë Ångström', '日本', '👩🏽‍🚀']) expect(nameSchema.safeParse(name).success).toBe(true)
  })
})

describe('the `data` of a message', () => {
  it('[BAD1] `data` refuses NUL and lone surrogates at any depth, in keys too', () => {
    for (const bad of ['\u0000', '\ud800']) {
      expect(send({ data: bad })).toBe(false)
      expect(send({ data: { a: [{ b: bad }] } })).toBe(false)
      expect(send({ data: { [`k${bad}`]: 1 } })).toBe(false)
    }
    expect(send({ data: { a: [{ b: 'fine' }, null, 1.5, true] } })).toBe(true)
  })

  it('[LIM1] `data` refuses values that are too large or nested too deep', () => {
    const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])
    expect(findJsonFault(nested(limits.jsonMaxDepth), limits.dataMaxBytes)).toBeUndefined()
    expect(findJsonFault(nested(limits.jsonMaxDepth + 1), limits.dataMaxBytes)).toMatch(/deeper/)
    expect(findJsonFault('é'.repeat(limits.dataMaxBytes / 2), limits.dataMaxBytes)).toMatch(/bytes/)
    expect(send({ text: 'x'.repeat(limits.textMaxChars) })).toBe(true)
    expect(send({ text: 'x'.repeat(limits.textMaxChars + 1) })).toBe(false)
  })

  it('the key `__proto__` in `data` and unknown fields of a message are refused', () => {
    expect(send({ data: JSON.parse('{"a":{"__proto__":{"admin":true}}}') })).toBe(false)
    expect(send({ data: { constructor: 1 } })).toBe(false)
    expect(send({ sender: conversation })).toBe(false)
  })

  it.each([
    ['bytes', Buffer.alloc(120_000)],
    ['a few bytes', Buffer.from('hi')],
    ['a typed array', new Float64Array(3)],
    ['an array buffer', new ArrayBuffer(8)],
    ['a date', new Date(0)],
    ['a map', new Map([['a', 1]])],
    ['a regular expression', /a/],
    [
      'an instance of a class',
      new (class Point {
        x = 1
      })(),
    ],
    ['a function', () => 1],
    ['a symbol', Symbol('a')],
    ['undefined in a list', [undefined]],
    ['a hole', Array.from({ length: 2 })],
  ])('[BAD1] `data` refuses %s, alone and inside other values', (_what, value) => {
    expect(findJsonFault(value, limits.dataMaxBytes)).toBe('is not JSON')
    expect(findJsonFault({ a: [value] }, limits.dataMaxBytes)).toBe('is not JSON')
    expect(send({ data: value })).toBe(false)
  })

  it('`data` accepts objects without a prototype', () => {
    expect(findJsonFault(Object.assign(Object.create(null), { a: 1 }), limits.dataMaxBytes)).toBeUndefined()
  })

  it('[LIM1] the check of the size of `data` stops as soon as the limit is exceeded', () => {
    const untouchable = new Proxy([], { get: () => expect.fail('was walked') })
    const filler = 'x'.repeat(limits.dataMaxBytes + 1)
    for (const value of [
      [filler, untouchable],
      { [filler]: untouchable },
      [Array.from({ length: limits.dataMaxBytes }, () => 1), untouchable],
      new Array(4_000_000_000),
    ])
      expect(findJsonFault(value, limits.dataMaxBytes)).toMatch(/is more than/)
  })

  it('[LIM1] `data` accepts exactly as many bytes as the limit allows', () => {
    const full = (bytes: number): string => 'x'.repeat(bytes - 2)
    expect(findJsonFault(full(limits.dataMaxBytes), limits.dataMaxBytes)).toBeUndefined()
    expect(findJsonFault(full(limits.dataMaxBytes + 1), limits.dataMaxBytes)).toMatch(/is more than/)
    const ones = Array.from({ length: (limits.dataMaxBytes - 2) / 2 }, () => 1)
    expect(findJsonFault(ones, limits.dataMaxBytes)).toBeUndefined()
  })
})
