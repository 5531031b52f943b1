/** The counter reads frames of the Postgres protocol, however they are cut, and passes them as they came. */
import { expect, it } from 'vitest'
import { StatementCounter } from './statement-counter.ts'

const id = '01a201e6-e551-74d1-9cf7-b96ef245aa1d'
const other = '01a201e6-e551-75ce-b857-ca106ac4240b'

function message(type: string, body: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(Buffer.byteLength(body) + 4)
  return Buffer.concat([Buffer.from(type), length, Buffer.from(body)])
}

it('counts each run of the named statements for each id, byte by byte', () => {
  const counter = new StatementCounter(['read_range'])
  const tap = counter.tap()
  const stream = Buffer.concat([
    message('', '\0\x03\0\0user\0postgres\0\0'),
    message('P', `read_range\0select 1\0`),
    message('B', `\0read_range\0${id}`),
    message('B', `\0append_changes\0${id}`),
    message('B', `\0read_range\0{${id},${other}}`),
  ])
  const passed = [...stream].map((byte) => tap.forward?.(Buffer.from([byte])))
  expect(Buffer.concat(passed.filter((one) => one !== undefined))).toEqual(stream)
  expect(counter.counts.get(id)).toEqual(new Map([['read_range', 2]]))
  expect(counter.counts.get(other)).toEqual(new Map([['read_range', 1]]))
  counter.reset()
  expect(counter.counts.size).toBe(0)
})
