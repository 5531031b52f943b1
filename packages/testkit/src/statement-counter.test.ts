import { expect, it } from 'vitest'
import { StatementCounter } from './statement-counter.ts'

const one = '0190d2a5-0000-7000-8000-000000000001'
const other = '0190d2a5-0000-7000-8000-000000000002'

function message(type: string, body: string): Buffer {
  const payload = Buffer.from(body, 'latin1')
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeUInt32BE(payload.length + 4, 1)
  return Buffer.concat([head, payload])
}

const start = Buffer.from([0, 0, 0, 8, 0, 3, 0, 0])
const bind = (statement: string, ...ids: string[]): Buffer =>
  message('B', `\0${statement}\0\0\0\0\u0001${ids.map((id) => `{${id}}`).join('\0')}`)

it.each([1, 7, 10_000])(
  '`StatementCounter` counts statements per id when data arrives in pieces of %i bytes',
  (size) => {
    const stream = Buffer.concat([
      start,
      message('P', `read_many\0select '${one}'`),
      bind('read_many', one, other, one),
      message('E', '\0\0\0\0'),
      bind('read_many', one),
      bind('read_one', one),
      bind('another', other),
    ])
    const counter = new StatementCounter(['read_many', 'read_one'])
    const take = counter.reader()
    for (let from = 0; from < stream.length; from += size) take(stream.subarray(from, from + size))
    expect(Object.fromEntries(counter.counts.get(one) ?? [])).toEqual({ read_many: 2, read_one: 1 })
    expect(Object.fromEntries(counter.counts.get(other) ?? [])).toEqual({ read_many: 1 })
    counter.reset()
    expect(counter.counts.size).toBe(0)
  },
)
