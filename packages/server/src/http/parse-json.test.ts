import { expect, it } from 'vitest'
import { JsonFault, parseJson } from './parse-json.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

it.each([
  '{}',
  '{"a":{"a":1},"b":[{"a":1},{"a":"}"}],"c":"\\"{,:","d":"a\\\\"}',
  '[1,2,[3]]',
  '"text"',
  ' {"a" : "x" , "b" : [ ] } ',
  '{"a":["b","b"],"b":"b"}',
  '{"":1,"\\u0041":2,"a":3}',
])('parses the body %s as JSON.parse does', (text) => {
  expect(parseJson(encode(text))).toEqual(JSON.parse(text))
})

it('returns undefined for an empty body', () => {
  expect(parseJson(new Uint8Array())).toBeUndefined()
})

it.each([
  ['a poisonous key', '{"__proto__":{"isAdmin":true}}'],
  ['a poisonous key, escaped', '{"a":{"\\u005f_proto__":1}}'],
  ['constructor.prototype', '{"constructor":{"prototype":{"x":1}}}'],
  ['depth', '['.repeat(10_000) + ']'.repeat(10_000)],
  ['depth in objects', '{"a":'.repeat(1_000) + '1' + '}'.repeat(1_000)],
  ['a key twice', '{"a":1,"b":{"c":1},"a":2}'],
  ['a key twice, escaped', '{"a":1,"\\u0061":2}'],
  ['a key twice below', '[{"x":[{"a":1,"a":1}]}]'],
  ['a byte order mark', '\ufeff{}'],
  ['no JSON', '{a:1}'],
  ['two values', '{} {}'],
  ['a cut string', '{"a":"b'],
])('refuses a body with %s', (_what, text) => {
  expect(() => parseJson(encode(text))).toThrow(JsonFault)
})

it.each([[[0xc0, 0xaf]], [[0xed, 0xa0, 0x80]], [[0xff]], [[0xf8, 0x88, 0x80, 0x80, 0x80]]])(
  'refuses a body with bytes that are not UTF-8: %j',
  (bytes) => {
    expect(() => parseJson(new Uint8Array([0x22, ...bytes, 0x22]))).toThrow('is not UTF-8')
  },
)

it('parses a body with many keys quickly', () => {
  const text = `{${Array.from({ length: 10_000 }, (_, n) => `"k${n}":0`).join(',')}}`
  expect(Object.keys(parseJson(encode(text)) as object)).toHaveLength(10_000)
})
