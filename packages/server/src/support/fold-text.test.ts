/**
 * Tests which handles and names count as equal, whatever the locale of the database or the process.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { foldHandle, foldName } from './fold-text.ts'

describe('folding of text for comparison', () => {
  it('[NAME1] folding a handle changes only the letters A to Z', () => {
    expect(foldHandle('Ilya.B-_9Z')).toBe('ilya.b-_9z')
    for (const other of ['İlya', 'ılya', 'élodie', 'ſam', '\u212aelvin', 'Ⅷ']) expect(foldHandle(other)).toBe(other)
  })

  it.each([
    ['Élodie', 'e\u0301lodie'],
    ['STRASSE', 'straße'],
    ['Straẞe', 'straße'],
    ['ΟΔΥΣΣΕΥΣ', 'οδυσσευς'],
    ['İstanbul', 'istanbul'],
    ['ILYA', 'ılya'],
    ['가', '\u1100\u1161'],
    ['Å', '\u212b'],
  ])('[NAME1] %j and %j are the same name', (one, other) => {
    expect(foldName(one)).toBe(foldName(other))
  })

  it('[NAME1] names that differ in accents are different', () => {
    expect(foldName('Élodie')).not.toBe(foldName('Elodie'))
  })

  it('[NAME1] folding a folded name changes nothing', () => {
    for (let code = 0; code <= 0x1ffff; code++) {
      const folded = foldName(`a${String.fromCodePoint(code)}b`)
      if (foldName(folded) !== folded) expect.unreachable(`U+${code.toString(16)}`)
    }
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const folded = foldName(text)
        expect(folded.isWellFormed()).toBe(true)
        expect(foldName(folded)).toBe(folded)
      }),
    )
  })
})
