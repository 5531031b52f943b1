/** Cursors and page tokens: what was written is read again, and anything else is no cursor. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '@chorus/protocol'
import { decodeCursor, decodePageToken, encodeCursor, encodePageToken } from './cursor.ts'

const position = fc.maxSafeNat()
const paging = fc.record({ nextPosition: position, conversation: fc.uuid({ version: 7 }), seq: position })

describe('cursors', () => {
  it('[RES2] are read as they were written, and fit their limit', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[0-9a-f.-]{1,80}$/),
        position,
        fc.option(paging, { nil: undefined }),
        (epoch, at, pages) => {
          const cursor = { epoch, position: at, ...(pages !== undefined && { paging: pages }) }
          const text = encodeCursor(cursor)
          expect(decodeCursor(text)).toEqual(cursor)
          expect(text).toMatch(/^[\w-]+$/)
          expect(text.length).toBeLessThan(limits.cursorMaxChars)
        },
      ),
    )
  })

  it('[RES2] anything else is no cursor, and never throws', () => {
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    fc.assert(fc.property(fc.string(), (text) => void decodeCursor(text)))
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(decodeCursor(encode(value))).toBeUndefined()
        void decodePageToken(encode(value))
      }),
    )
    for (const value of [
      [2, 'e', 1],
      [1, 'e', 1.5],
      [1, 'e', -1],
      [1, 'e', 2 ** 53],
      [1, 1, 1],
      [1, 'e'],
      [1, 'e', 1, 2],
      { 0: 1 },
      null,
    ]) {
      expect(decodeCursor(encode(value))).toBeUndefined()
    }
  })

  it('page tokens carry their fields', () => {
    expect(decodePageToken(encodePageToken(['12', 'id', 3]))).toEqual(['12', 'id', 3])
    expect(decodePageToken('?')).toBeUndefined()
    expect(decodePageToken(Buffer.from('[{}]').toString('base64url'))).toBeUndefined()
  })
})
