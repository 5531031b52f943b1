/** Tests that each emoji has one spelling, and that all other text is refused. */
import { describe, expect, it } from 'vitest'
import { limits } from '../limits.ts'
import { canonicalEmoji, emojiSchema } from './emoji.ts'

const same: readonly (readonly [string, ...string[]])[] = [
  ['👍', '👍\ufe0f', '👍\ufe0e'],
  ['❤\ufe0f', '❤', '❤\ufe0e'],
  ['©\ufe0f', '©'],
  ['1\ufe0f\u20e3', '1\u20e3'],
  ['#\ufe0f\u20e3', '#\u20e3'],
  ['☝🏽', '☝\ufe0f🏽', '☝🏽\ufe0f'],
  ['👍🏿'],
  ['🇩🇪', '🇩🇪\ufe0f'],
  ['🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}'],
  ['👩\u200d👩\u200d👧\u200d👦'],
  ['🏳\ufe0f\u200d🌈', '🏳\u200d🌈', '🏳\u200d🌈\ufe0f'],
  ['🏴\u200d☠\ufe0f', '🏴\u200d☠', '🏴\ufe0f\u200d☠'],
  ['❤\ufe0f\u200d🔥', '❤\u200d🔥'],
  ['👁\ufe0f\u200d🗨\ufe0f', '👁\u200d🗨', '👁\ufe0f\u200d🗨'],
  ['⛹🏽\u200d♂\ufe0f', '⛹🏽\u200d♂', '⛹\ufe0f🏽\u200d♂'],
  ['🧑🏻\u200d🤝\u200d🧑🏿'],
]

const none: readonly string[] = [
  '',
  '1',
  '#',
  'a',
  ' ',
  '1👍',
  '👍1',
  '👍👍',
  '👍❤️',
  '👍 ',
  ' 👍',
  '👍a',
  '👍\n',
  '1\ufe0f',
  '\ufe0f',
  '\u200d',
  '\u20e3',
  'a\u20e3',
  '12\ufe0f\u20e3',
  '👍\u200d',
  '\u200d👍',
  '👍\u200d👍',
  '🇩',
  '🇩🇪🇫🇷',
  '🇦🇦',
  '🏴\u{e0067}',
  '👍🏽🏽',
  '🍕🏽',
  '\u{e007f}',
  '👍\u0301',
  '👍'.repeat(100),
  '👍'.slice(0, 1),
]

describe('the emoji of a reaction', () => {
  it.each(same)('all spellings of the emoji %s are normalized to one spelling', (canonical, ...others) => {
    for (const spelling of [canonical, ...others]) {
      expect(canonicalEmoji(spelling)).toBe(canonical)
      expect(emojiSchema.parse(spelling)).toBe(canonical)
    }
    expect(canonical.length).toBeLessThanOrEqual(limits.emojiMaxChars)
  })

  it.each(none.map((text) => [text]))('the reaction %j is refused, because it is not exactly one emoji', (text) => {
    expect(canonicalEmoji(text)).toBeUndefined()
    expect(emojiSchema.safeParse(text).success).toBe(false)
  })

  it('the same emoji with different skin tones stays different', () => {
    const thumbs = ['👍', '👍🏻', '👍🏼', '👍🏽', '👍🏾', '👍🏿']
    expect(new Set(thumbs.map(canonicalEmoji)).size).toBe(thumbs.length)
  })

  it('a character that Unicode reserves for a future emoji is accepted', () => {
    expect(canonicalEmoji('\u{1faff}')).toBe('\u{1faff}')
  })
})
