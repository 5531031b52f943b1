import { describe, expect, it } from 'vitest'
import { excerpt, isLargeEmoji, needsMarkdown, showsNothing } from './plain-text.ts'

describe('plain text', () => {
  it.each(['hello', 'See you at 5, ok?', 'a - b', '3.5 km', 'well…\nnext line', 'C# is fine', '👍'])(
    'the text %j needs no Markdown renderer',
    (text) => {
      expect(needsMarkdown(text)).toBe(false)
    },
  )

  it.each([
    '**bold**',
    '`code`',
    'https://example.com',
    'www.example.com',
    '# title',
    '- item',
    '1. first',
    '> quote',
    'a@b.example',
    '    indented',
  ])('the text %j needs the Markdown renderer', (text) => expect(needsMarkdown(text)).toBe(true))

  it.each([
    [`https://a.example/${')'.repeat(19_900)}。`],
    ['**a'.repeat(1_000)],
    ['> '.repeat(9_000)],
    [`${'- '.repeat(60)}x`],
  ])('a text that would block a browser is not rendered as Markdown', (text) => expect(needsMarkdown(text)).toBe(false))

  it('long code still needs the Markdown renderer', () => {
    expect(needsMarkdown(`see\n\`\`\`\n${'f(x);\n'.repeat(2_000)}\`\`\``)).toBe(true)
  })

  it.each([
    ['\u200b', true],
    ['\u2060 \ufeff\n', true],
    ['\u2800', true],
    ['', true],
    ['.', false],
    ['👍', false],
    ['\u200bx', false],
  ])('the text %j is invisible: %s', (text, expected) => expect(showsNothing(text)).toBe(expected))

  it.each([
    ['👍', true],
    ['👩‍👩‍👧‍👦 🇩🇪', true],
    ['🎉🎉🎉', true],
    ['🎉🎉🎉🎉', false],
    ['👍 ok', false],
    ['12', false],
    ['', false],
    ['  ', false],
  ])('the text %j is shown as large emoji: %s', (text, expected) => expect(isLargeEmoji(text)).toBe(expected))

  it('a message is shortened to one line without Markdown marks', () => {
    expect(excerpt('**Hello**\n> quoted `code`')).toBe('Hello quoted code')
    expect(excerpt('see [the plan](https://example.com)')).toBe('see the plan')
    expect(excerpt('so *much* _better_')).toBe('so much better')
    expect(excerpt('array[0](x) and 2**3**4')).toBe('array[0](x) and 2**3**4')
    expect(excerpt('[](https://example.com/a)')).toBe('https://example.com/a')
    expect(excerpt('>')).toBe('>')
    expect(excerpt('snake_case_name and 2 * 3 * 4')).toBe('snake_case_name and 2 * 3 * 4')
    expect(excerpt('x'.repeat(200), 10)).toBe(`${'x'.repeat(10)}…`)
    expect(excerpt('👍'.repeat(10), 3)).toBe('👍…')
  })
})
