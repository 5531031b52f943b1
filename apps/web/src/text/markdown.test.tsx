// @vitest-environment happy-dom
import { cleanup, render } from '@testing-library/react'
import { afterEach, describe, expect, it } from 'vitest'
import { Markdown } from './markdown.tsx'

afterEach(cleanup)

const show = (text: string): HTMLElement => render(<Markdown text={text} />).container

describe('the Markdown renderer', () => {
  it('the renderer shows bold text, code, lists, quotes and strikethrough', () => {
    const container = show('**bold** and `code`\n\n- one\n- two\n\n> quoted\n\n```\nlet x = 1\n```\n\n~~gone~~')
    expect(container.querySelector('strong')?.textContent).toBe('bold')
    expect(container.querySelectorAll('li')).toHaveLength(2)
    expect(container.querySelector('blockquote')?.textContent?.trim()).toBe('quoted')
    expect(container.querySelector('pre code')?.textContent).toBe('let x = 1\n')
    expect(container.querySelector('del')?.textContent).toBe('gone')
  })

  it.each([
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<svg onload=alert(1)>',
    '<iframe src="https://evil.example"></iframe>',
    '<a href="javascript:alert(1)">x</a>',
    '<style>body{display:none}</style>',
    '<form action="/v1/session" method="post"><button>x</button></form>',
  ])('raw HTML in a message is shown as text: %s', (text) => {
    const container = show(text)
    expect(container.querySelector('script, img, svg, iframe, a, style, form, button')).toBeNull()
    expect(container.textContent).toContain(text)
  })

  it.each([
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](data:text/html,<script>alert(1)</script>)',
    '[x](vbscript:x)',
    '[x](//evil.example)',
    '[x](/v1/session)',
    '[x](java&#10;script:alert(1))',
    '[x][y]\n\n[y]: javascript:alert(1)',
    '<javascript:alert(1)>',
    '![x](javascript:alert(1))',
  ])('an unsafe address in a message does not become a link: %s', (text) => {
    expect(show(text).querySelector('a, img')).toBeNull()
  })

  it('links open in a new tab, without opener and referrer', () => {
    const links = [...show('[a](https://example.com) www.example.org <mailto:a@example.com>').querySelectorAll('a')]
    expect(links.map((link) => link.href)).toEqual([
      'https://example.com/',
      'http://www.example.org/',
      'mailto:a@example.com',
    ])
    for (const link of links) {
      expect(link.target).toBe('_blank')
      expect(link.rel).toBe('noopener noreferrer')
    }
  })

  it('a picture in a message becomes a link and is not loaded', () => {
    const container = show('![a cat](https://example.com/cat.png)')
    expect(container.querySelector('img')).toBeNull()
    expect(container.querySelector('a')?.href).toBe('https://example.com/cat.png')
    expect(container.textContent).toBe('a cat')
  })

  it('a heading in a message becomes a bold line', () => {
    const container = show('# Title\n\n## Second')
    expect(container.querySelector('h1, h2')).toBeNull()
    expect(container.querySelectorAll('.markdown-heading')).toHaveLength(2)
  })
})
