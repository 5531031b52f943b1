import type { Json } from '@chorus/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeChange, encodeSentMessage } from './logged-change.ts'

const id = (digit: string): string => `018f5a3e-0000-7000-8000-00000000000${digit}`
const at = '2026-01-02T03:04:05.678Z'

describe('the JSON of a sent message', () => {
  it('the fast and the general encoder give the same JSON for a sent message', () => {
    const anything = fc.record({
      seq: fc.integer({ min: 1 }),
      text: fc.string({ unit: 'binary' }),
      replyTo: fc.option(fc.integer({ min: 1 })),
      data: fc.jsonValue() as fc.Arbitrary<Json>,
    })
    fc.assert(
      fc.property(anything, ({ seq, text, replyTo, data }) => {
        const message = {
          conversation: id('1'),
          seq,
          version: seq,
          clientId: id('2'),
          sender: id('3'),
          text,
          replyTo,
          attachments: [],
          data,
          createdAt: at,
          editedAt: null,
          deletedAt: null,
        }
        const change = { seq, at, actor: id('3'), type: 'message.created' as const, message }
        expect(encodeSentMessage(7, at, message)).toStrictEqual(encodeChange(id('1'), 7, change))
      }),
    )
  })
})
