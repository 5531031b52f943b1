import { describe, expect, it } from 'vitest'
import { MessageReader, StatementTally } from './statement-link.ts'

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
const bind = (statement: string, ids: string): Buffer => message('B', `\0${statement}\0\0\0\0\u0001${ids}`)

describe('counting statements on the way to Postgres', () => {
  it('counts each id of the wanted statements, however the bytes are cut', () => {
    const stream = Buffer.concat([
      start,
      message('P', 'read_many\0select'),
      bind('read_many', `{${one},${other}}`),
      message('E', '\0\0\0\0'),
      bind('read_one', one),
      bind('another', other),
    ])
    for (const size of [1, 7, stream.length]) {
      const tally = new StatementTally(['read_many', 'read_one'])
      const reader = new MessageReader((body) => tally.note(body))
      for (let from = 0; from < stream.length; from += size) reader.take(stream.subarray(from, from + size))
      expect(tally.counts.get(one)).toEqual(
        new Map([
          ['read_many', 1],
          ['read_one', 1],
        ]),
      )
      expect(tally.counts.get(other)).toEqual(new Map([['read_many', 1]]))
      tally.reset()
      expect(tally.counts.size).toBe(0)
    }
  })
})
