import fc from 'fast-check'
import { expect, it } from 'vitest'
import { JsonFault, parseJsonText } from './json-text.ts'

it.each([
  '9007199254740993',
  '-9007199254740993',
  '9007199254740993.0',
  '9007199254740993e0',
  '9007199254740.993e3',
  '90071992547409930e-1',
  '9007199254740991.6',
  '12345678901234567890',
  '1152921504606846977',
  '1e400',
  '-1e400',
  '1e-400',
  '123456789012345678901234567890.5',
])('[BAD1] refuses the JSON number %s, which would be stored as another number', (number) => {
  for (const text of [number, `[${number}]`, `{"a":{"b":[1,${number}]}}`])
    expect(() => parseJsonText(text)).toThrow('contains a number that cannot be kept; send it as a string')
})

it.each([
  '9007199254740991',
  '-9007199254740991',
  '9007199254740992',
  '9007199254740992.0',
  '1e21',
  '1E+300',
  '-0',
  '0.0e-5',
  '0.1',
  '0.10000000000000001',
  '3.14159265358979323846264338327950288',
  '5e-324',
  '1.7976931348623157e308',
  '100000000000000000000',
])('accepts the JSON number %s', (number) => {
  expect(parseJsonText(`[${number}]`)).toEqual([Number(number)])
})

it('digits inside JSON strings and keys do not count as numbers', () => {
  const text = '{"9007199254740993":"9007199254740993","\\"1e400":"1e400 \\\\"}'
  expect(parseJsonText(text)).toEqual(JSON.parse(text))
})

it('accepts every number that JSON.stringify writes', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
      expect(parseJsonText(JSON.stringify(number))).toBe(number === 0 ? 0 : number)
    }),
  )
})

it('[BAD1] refuses every JSON integer that a JavaScript number cannot represent', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 2n ** 53n, max: 2n ** 69n }), (integer) => {
      const isHeld = BigInt(Number(integer)) === integer && String(Number(integer)) === String(integer)
      if (isHeld) expect(parseJsonText(String(integer))).toBe(Number(integer))
      else expect(() => parseJsonText(String(integer))).toThrow(JsonFault)
    }),
  )
})

it('[LIM1] refuses a JSON text with very many values before parsing it', () => {
  for (const text of [
    `[${'[],'.repeat(40_000)}[]]`,
    `[${'1,'.repeat(60_000)}1]`,
    `{${'"a":1,'.repeat(20_000)}"a":1}`,
    '{'.repeat(60_000),
    ','.repeat(120_000),
  ])
    expect(() => parseJsonText(text)).toThrow(/contains more than|nested deeper/)
})

it('refuses a text that is not JSON', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      let isJson = true
      try {
        JSON.parse(text)
      } catch {
        isJson = false
      }
      if (!isJson) expect(() => parseJsonText(text)).toThrow(JsonFault)
    }),
  )
  for (const text of ['"', '"\\', '"\\\\\\"', '-', '1e', '[-', '{"a":-'])
    expect(() => parseJsonText(text)).toThrow(JsonFault)
})
