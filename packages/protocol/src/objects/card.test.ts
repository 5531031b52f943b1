/** Tests the bounds of cards in requests of API keys. */
import { describe, expect, it } from 'vitest'
import { commands } from '../commands/commands.ts'
import { limits } from '../limits.ts'
import { cardInputSchema } from './card.ts'

const card = { type: 'offer', title: 'Blue shoes', state: 'open' }
const action = { id: 'accept', label: 'Accept' }
const many = (count: number, value: (index: number) => string) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`Field ${index}`, value(index)]))

describe('a card in a request', () => {
  it.each([
    ['no fields and no actions', card],
    ['all fields', { ...card, fields: many(limits.cardFieldsMax, () => 'x'), actions: [{ ...action, by: ['ada'] }] }],
    ['an empty value', { ...card, fields: { Size: '' } }],
    ['the longest value', { ...card, fields: { Note: 'x'.repeat(limits.cardFieldMaxChars) } }],
  ])('may have %s', (_what, value) => {
    expect(cardInputSchema.safeParse(value)).toMatchObject({ success: true, data: value })
  })

  it.each([
    ['too many fields', { fields: many(limits.cardFieldsMax + 1, () => 'x') }],
    ['a long value', { fields: { Note: 'x'.repeat(limits.cardFieldMaxChars + 1) } }],
    ['a long field name', { fields: { ['x'.repeat(limits.cardFieldNameMaxChars + 1)]: 'x' } }],
    ['an empty field name', { fields: { '': 'x' } }],
    ['a field name of two lines', { fields: { 'a\nb': 'x' } }],
    ['a poisonous field name', { fields: { constructor: 'x' } }],
    ['a lone surrogate', { fields: { Note: '\ud800' } }],
    ['a value that is no text', { fields: { Price: 30 } }],
    ['too many bytes', { fields: many(limits.cardFieldsMax, () => 'ü'.repeat(200)) }],
    ['too many actions', { actions: Array.from({ length: 6 }, (_, n) => ({ ...action, id: `a${n}` })) }],
    ['two actions with one id', { actions: [action, { ...action, label: 'Other' }] }],
    ['an action for no user', { actions: [{ ...action, by: [] }] }],
    ['an unknown field', { version: 1 }],
    ['a signature', { jws: 'x' }],
    ['an act', { acted: null }],
    ['a type with blanks', { type: 'an offer' }],
    ['an empty title', { title: '' }],
  ])('may not have %s', (_what, fields) => {
    expect(cardInputSchema.safeParse({ ...card, ...fields }).success).toBe(false)
  })
})

it('drops a field named __proto__', () => {
  const fields = JSON.parse('{"__proto__": "x", "Size": "42"}') as object
  const parsed = cardInputSchema.parse({ ...card, fields })
  expect(Object.getOwnPropertyNames(parsed.fields)).toEqual(['Size'])
  expect(Object.getPrototypeOf(parsed.fields)).not.toBe('x')
})

it.each([
  [{}, false],
  [{ text: '' }, false],
  [{ data: null }, false],
  [{ text: 'x' }, true],
  [{ data: 0 }, true],
  [{ card }, true],
])('a message of a key needs text, data or a card: %j', (fields, expected) => {
  const id = '018f0000-0000-7000-8000-000000000000'
  const input = { conversation: id, clientId: id, ...fields }
  expect(commands['post-message'].input.safeParse(input).success).toBe(expected)
})

it.each([
  [{ version: 1, state: 'paid' }, true],
  [{ version: 0, state: 'paid' }, false],
  [{ version: 1 }, false],
  [{ version: 1, state: 'paid', title: 'x' }, false],
  [{ version: 1, state: 'paid', fields: many(limits.cardFieldsMax, () => 'ü'.repeat(200)) }, false],
])('a change of a card names its version and its state: %#', (fields, expected) => {
  const input = { conversation: '018f0000-0000-7000-8000-000000000000', seq: 1, ...fields }
  expect(commands['update-card'].input.safeParse(input).success).toBe(expected)
})
