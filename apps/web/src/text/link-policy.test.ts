import { describe, expect, it } from 'vitest'
import { safeLink } from './link-policy.ts'

describe('the link policy', () => {
  it.each([
    ['https://example.com/a?b=c#d', 'https://example.com/a?b=c#d'],
    ['http://example.com', 'http://example.com/'],
    ['mailto:ada@example.com', 'mailto:ada@example.com'],
    [' https://example.com ', 'https://example.com/'],
    ['HTTPS://EXAMPLE.com', 'https://example.com/'],
  ])('a message may link to %j', (address, expected) => expect(safeLink(address)).toBe(expected))

  it.each([
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'java\nscript:alert(1)',
    '\u0001javascript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:msgbox(1)',
    'file:///etc/passwd',
    'blob:https://example.com/1',
    '//evil.example',
    '/v1/session',
    '#top',
    'https:\\\\evil.example',
    'http://[',
    '',
  ])('a message may not link to %j', (address) => expect(safeLink(address)).toBeUndefined())
})
