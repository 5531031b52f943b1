// @vitest-environment happy-dom
import { cleanup, render } from '@testing-library/react'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { Markdown } from './markdown.tsx'
import { showsNothing } from './plain-text.ts'

afterEach(cleanup)

const show = (text: string): HTMLElement => render(<Markdown text={text} />).container
const shownText = (text: string): string => show(text).textContent ?? ''

describe('Markdown that hides no text', () => {
  it.each([
    '[ERROR]: timeout',
    '[ERROR]: timeout\n[WARN]: slow',
    '[^1]: only a note',
    '[note]: https://example.org/unused',
    '<!-- a comment -->',
    '<generic<T>>',
    'Map<string, List<T>> and a <b>',
    '#',
    '##',
    '>',
    '> >',
    '-',
    '*',
    '+',
    '```',
    '```hello',
    '```\u2000word\n*',
    '```let x = 1\n```',
    '```js title="a b"\nlet x = 1\n```',
    '~~~',
    '[](x)',
    '![](x)',
    '![alt](x)',
    'array[0](x)',
    'f[i](args) and [x][y]',
    '[x](<unsafe path>)',
    'meet 3~4pm or 5~6pm',
    '3~~4pm or 5~~6pm',
    '~/path~ and ~user~',
    '2*3*4=24',
    '2**3**4',
    'x*y + z*w',
    '_snake_case_ and __my_name__',
    '__init__.py',
    'self.__dict__',
    'snake_case_name',
    '**/*.ts and **/*.js',
    'int *p, *q; char **r',
    'C:\\temp\\*',
    'C:\\temp\\_old\\#1',
    '\\\\server\\share',
    '¯\\_(ツ)_/¯',
    '\\d+\\.\\d*',
    '\\[x^2\\] and \\(y\\)',
    'a\\\nb',
    'Tom &amp; Jerry &copy; &nbsp;|&#8203;|',
    '&nbsp;',
    'http://',
    'http://host:port/path',
    'ftp://example.org/file',
    '<ftp://example.org/file>',
    '<javascript:alert(1)>',
    '#hashtag #2',
    'Title\n---=',
    'Not a title\n===',
    'https://example.org/?a=1&copy=2',
    'a  b   c',
  ])('the message %j is shown as it was typed', (source) => {
    expect(shownText(source).replaceAll(/\n+/g, '\n')).toBe(source)
  })

  it.each([
    ['1986. A great year', '1986. A great year'],
    ['007. Bond', '007. Bond'],
    ['3) c\n7) g', '3) c\n7) g'],
    ['1. a\n1. b', '1. a\n1. b'],
    ['\\*not bold\\* and \\_this\\_', '*not bold* and _this_'],
    ['\\*\\*not bold\\*\\*', '**not bold**'],
    ['1986\\. A great year', '1986. A great year'],
    ['\\# one', '# one'],
    ['a  \nb', 'a\nb'],
    ['see [this](https://example.org "the title")', 'see this (the title)'],
    ['[](https://example.org/a)', 'https://example.org/a'],
    ['[\u200b](https://example.org/a)', 'https://example.org/a'],
    ['![](https://example.org/a.png)', 'https://example.org/a.png'],
    ['```js\nlet x = 1\n```', 'js\nlet x = 1'],
    ['# Title #', 'Title'],
    ['***both*** and **a *b* c**', 'both and a b c'],
    ['这是*重点*内容', '这是重点内容'],
    ['~~gone~~', 'gone'],
    ['[a][b]\n\n[b]: https://example.org "t"', 'a'],
    ['[a][b]\n\n[b]: https://example.org\n[b]: https://example.com', 'a\n[b]: https://example.com'],
  ])('the message %j is shown as %j', (source, expected) => {
    const lines = [...show(source).querySelectorAll('p, li, pre')]
      .filter((line) => line.querySelector('p, li, pre') === null)
      .map((line) => line.textContent.trim())
    expect(lines.join('\n')).toBe(expected)
  })

  it('a table shows all cells of a row that is longer than the first', () => {
    const container = show('|a|b|\n|-|-|\n|1|2|3|4\\|5|')
    expect([...container.querySelectorAll('td')].map((cell) => cell.textContent)).toEqual(['1', '2', '3', '4|5'])
  })

  const links = (source: string) =>
    [...show(source).querySelectorAll('a')].map(({ href, textContent }) => [textContent, href])

  it.each([
    ['请看（https://example.org/a）谢谢', [['https://example.org/a', 'https://example.org/a']]],
    ['看https://example.org/a，再见', [['https://example.org/a', 'https://example.org/a']]],
    ['见 https://example.org。', [['https://example.org', 'https://example.org/']]],
    ['「www.example.org/a」です', [['www.example.org/a', 'http://www.example.org/a']]],
    ['«https://example.org/a»', [['https://example.org/a', 'https://example.org/a']]],
    ['“https://example.org/a”…', [['https://example.org/a', 'https://example.org/a']]],
    ['(https://example.org/a)，b', [['https://example.org/a', 'https://example.org/a']]],
    ['https://example.org/a_(b)。', [['https://example.org/a_(b)', 'https://example.org/a_(b)']]],
    [
      'https://zh.example.org/wiki/中国',
      [['https://zh.example.org/wiki/中国', 'https://zh.example.org/wiki/%E4%B8%AD%E5%9B%BD']],
    ],
    ['http://localhost:3000/x?y=1#z', [['http://localhost:3000/x?y=1#z', 'http://localhost:3000/x?y=1#z']]],
    [
      'https://münchen.example:8443/ö',
      [['https://münchen.example:8443/ö', 'https://xn--mnchen-3ya.example:8443/%C3%B6']],
    ],
    ['ada@example.org，谢谢', [['ada@example.org', 'mailto:ada@example.org']]],
    ['[docs]: https://example.org/a', [['https://example.org/a', 'https://example.org/a']]],
    ['```see https://example.org/a）', [['https://example.org/a', 'https://example.org/a']]],
    ['see https://example.org/a.', [['https://example.org/a', 'https://example.org/a']]],
  ])('a link in a text ends before the surrounding punctuation: %j', (source, expected) => {
    expect(links(source)).toEqual(expected)
    cleanup()
    expect(shownText(source)).toBe(source)
  })

  const piece = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        ...'*_~`[]()<>!#>-+=|\\&:;.,\n\t "\''.split(''),
        '\n\n',
        '**',
        '```',
        '](',
        '[^',
        ': ',
        '    ',
      ),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        'word',
        'a',
        '1',
        '2',
        'https://example.org/a',
        'www.example.org',
        'x@y.example',
        'javascript:a',
        '<b>',
        '<!--',
        '-->',
        '&amp;',
        '请',
        '）',
        'é',
        '- [x] ',
        '1. ',
        '|-|\n',
      ),
    },
    { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 6 }) },
  )
  const signs = (text: string): string[] => text.match(/[\p{L}\p{N}]/gu) ?? []

  it('[APP2] every letter and digit of a message is visible or in a link address', () => {
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 30 }), (pieces) => {
        const source = pieces.join('')
        const container = show(source)
        const addresses = [...container.querySelectorAll('a')].map(({ href }) => decodeURI(href)).join(' ')
        const tasks = 'x'.repeat(container.querySelectorAll('.markdown-task').length)
        const left = new Map<string, number>()
        for (const sign of signs(`${container.textContent} ${addresses} ${tasks}`.toLowerCase()))
          left.set(sign, (left.get(sign) ?? 0) + 1)
        const lost = signs(source.toLowerCase()).filter((sign) => {
          const count = left.get(sign) ?? 0
          left.set(sign, count - 1)
          return count <= 0
        })
        const isBlank = showsNothing(container.textContent ?? '')
        cleanup()
        expect(lost).toEqual([])
        expect(isBlank).toBe(showsNothing(source))
      }),
      { numRuns: 1_500 },
    )
  })
})
