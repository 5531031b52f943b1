/** Tests which names are allowed: one line with a visible character. */
import { describe, expect, it } from 'vitest'
import { nameSchema, showsSomething, toOneLine } from './text.ts'

const blanks: Record<string, string> = {
  blanks: ' \u00a0\u2003\u3000',
  'zero-width space': '\u200b\u200b',
  'zero-width joiners': '\u200c\u200d',
  'word joiner, BOM': '\u2060\ufeff',
  'soft hyphen': '\u00ad',
  'Hangul fillers': '\u3164\u115f\u1160\uffa0',
  'blank of Braille': '\u2800',
  'variation selectors': '\ufe0f\ufe00\u{e0100}',
  'Mongolian selectors': '\u180b\u180e',
  tags: '\u{e0001}\u{e0067}\u{e007f}',
  'combining marks': '\u0301\u0489\u20dd',
  'combining grapheme joiner': '\u034f',
  'invisible operators': '\u2061\u2062\u2063\u2064',
  'musical null note': '\u{1d159}',
  'musical controls': '\u{1d173}\u{1d17a}',
  'shorthand controls': '\u{1bca0}',
  'Egyptian blanks': '\u{13441}\u{13442}',
  'Khmer vowels without a sound': '\u17b4\u17b5',
  mixture: ' \u200b\u3164\u0301\u2800 ',
}
const lines: Record<string, string> = {
  LF: 'a\nb',
  CR: 'a\rb',
  VT: 'a\vb',
  FF: 'a\fb',
  NEL: 'a\u0085b',
  'line separator': 'a\u2028b',
  'paragraph separator': 'a\u2029b',
  tab: 'a\tb',
  ESC: 'a\u001b[31mb',
  'C1 control': 'a\u009bb',
  'right-to-left override': 'a\u202eb',
  'right-to-left isolate': 'a\u2067b',
  'Arabic letter mark': 'a\u061cb',
  'right-to-left mark': 'a\u200fb',
  'deprecated format character': 'a\u206ab',
}
const names = [
  'Ada',
  'É',
  'Zoe\u0308',
  'नमस्ते',
  'می\u200cخواهم',
  '👩\u200d👧',
  '❤\ufe0f',
  '한글',
  '⠠⠁',
  '-',
  'ⵣ',
  '\u{e000}',
]

describe('a name', () => {
  it.each(Object.entries(blanks))('a name is refused when it consists of %s', (_what, name) => {
    expect(showsSomething(name)).toBe(false)
    expect(nameSchema.safeParse(name).success).toBe(false)
  })

  it.each(Object.entries(lines))('a name is refused when it contains %s', (_what, name) => {
    expect(nameSchema.safeParse(name).success).toBe(false)
    // Names stored by earlier versions become one line when they are shown.
    expect(nameSchema.safeParse(toOneLine(name)).success).toBe(true)
  })

  it.each(names)('%s is accepted as a name', (name) => {
    expect(nameSchema.parse(name)).toBe(name.normalize('NFC'))
  })
})
