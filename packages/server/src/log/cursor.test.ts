/**
 * Tests that cursors and page tokens decode to the encoded values, and that any other text is
 * refused.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '@chorus/protocol'
import { CursorCodec, decodePageToken, encodePageToken } from './cursor.ts'

const position = fc.maxSafeNat()
const paging = fc.record({ nextPosition: position, conversation: fc.uuid({ version: 7 }), seq: position })
const anyCursor = fc
  .tuple(fc.stringMatching(/^[0-9a-f.-]{1,80}$/), position, fc.option(paging, { nil: undefined }))
  .map(([epoch, at, pages]) => ({ epoch, position: at, ...(pages !== undefined && { paging: pages }) }))

const codec = new CursorCodec('a key')
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Returns other texts that lenient base64 decoders read as the same bytes. */
function otherSpellings(text: string): string[] {
  const bytes = Buffer.from(text, 'base64url')
  const last = alphabet.indexOf(text.at(-1) ?? '')
  return [
    bytes.toString('base64'),
    `${text}=`,
    `${text}==`,
    `${text} `,
    ` ${text}`,
    `${text}\n`,
    `${text.slice(0, 8)}\t${text.slice(8)}`,
    `${text}!`,
    `${text}A`,
    `${text}.${text}`,
    text.replaceAll('-', '+').replaceAll('_', '/'),
    encodeURIComponent(`${text}=`),
    // The last character of a base64 text can have unused bits.
    ...(text.length % 4 === 0 ? [] : [1, 2, 3].map((bit) => text.slice(0, -1) + (alphabet[last ^ bit] ?? ''))),
  ].filter((spelling) => spelling !== text)
}

describe('cursors', () => {
  it('[RES2] a cursor decodes to the encoded values, within the length limit', () => {
    fc.assert(
      fc.property(anyCursor, (cursor) => {
        const text = codec.encode(cursor)
        expect(codec.decode(text)).toEqual(cursor)
        expect(new CursorCodec('a key').decode(text)).toEqual(cursor)
        expect(text).toMatch(/^[\w-]+$/)
        expect(text.length).toBeLessThan(limits.cursorMaxChars)
      }),
    )
  })

  it('[RES4] refuses a cursor that no server issued', () => {
    fc.assert(
      fc.property(anyCursor, fc.nat(), fc.integer({ min: 1, max: 255 }), (cursor, at, flip) => {
        const text = codec.encode(cursor)
        expect(new CursorCodec('another key').decode(text)).toBeUndefined()
        const bytes = Buffer.from(text, 'base64url')
        const index = at % bytes.length
        bytes[index] = (bytes[index] as number) ^ flip
        expect(codec.decode(bytes.toString('base64url'))).toBeUndefined()
        expect(codec.decode(bytes.subarray(0, index).toString('base64url'))).toBeUndefined()
        expect(codec.decode(Buffer.concat([bytes, Buffer.from(' ')]).toString('base64url'))).toBeUndefined()
      }),
    )
  })

  it('[RES4] refuses a cursor of version 1, which has no signature', () => {
    fc.assert(
      fc.property(anyCursor, ({ epoch, position: at, paging: pages }) => {
        const fields = pages === undefined ? [] : [pages.nextPosition, pages.conversation, pages.seq]
        for (const version of [1, 2]) {
          const old = Buffer.from(JSON.stringify([version, epoch, at, ...fields])).toString('base64url')
          expect(codec.decode(old)).toBeUndefined()
        }
      }),
    )
  })

  it('[RES4] refuses a cursor whose text is encoded in another way', () => {
    fc.assert(
      fc.property(anyCursor, (cursor) => {
        for (const spelling of otherSpellings(codec.encode(cursor))) expect(codec.decode(spelling)).toBeUndefined()
      }),
    )
  })

  it('[RES2] refuses any other text as a cursor, without throwing', () => {
    fc.assert(fc.property(fc.string(), (text) => codec.decode(text) === undefined))
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(codec.decode(Buffer.from(bytes).toString('base64url'))).toBeUndefined()
      }),
    )
    expect(codec.decode('A'.repeat(10_000_000))).toBeUndefined()
  })
})

describe('page tokens', () => {
  const id = '01890a5d-ac96-774b-bcce-b302099a8057'
  const token = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

  it('a page token decodes to the encoded fields', () => {
    expect(decodePageToken(encodePageToken(['12', id]), ['xid', 'id'])).toEqual(['12', id])
    expect(decodePageToken(encodePageToken([3]), ['seq'])).toEqual([3])
  })

  it('[RES4] refuses any other text as a page token', () => {
    const dashes = '-'.repeat(36)
    for (const value of [
      ['12', dashes],
      ['12', id.toUpperCase()],
      ['12', id, 1],
      ['12'],
      [12, id],
      ['012', id],
      ['9'.repeat(19), id],
      ['-1', id],
      ['1e3', id],
      ['12', null],
      [{}],
      {},
      null,
      '12',
    ])
      expect(decodePageToken(token(value), ['xid', 'id']), JSON.stringify(value)).toBeUndefined()
    for (const value of [[-1], [1.5], [2 ** 53], ['3'], [null], [[3]], [3, 3], []])
      expect(decodePageToken(token(value), ['seq']), JSON.stringify(value)).toBeUndefined()
    for (const text of ['', '?', dashes, 'A'.repeat(10_000_000)]) {
      expect(decodePageToken(text, ['seq'])).toBeUndefined()
    }
    for (const json of ['[3 ]', ' [3]', '[3.0]', '[3e0]', '[-0]'])
      expect(decodePageToken(Buffer.from(json).toString('base64url'), ['seq'])).toBeUndefined()
    for (const spelling of otherSpellings(encodePageToken(['12', id])))
      expect(decodePageToken(spelling, ['xid', 'id'])).toBeUndefined()
  })
})
