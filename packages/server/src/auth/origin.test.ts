import { describe, expect, it } from 'vitest'
import { decideOrigin } from './origin.ts'
import type { OriginHeaders, OriginPolicy, OriginUse } from './origin.ts'

const local: OriginPolicy = { publicUrl: undefined, allowedOrigins: [], embedOrigins: [] }
const behindTls: OriginPolicy = {
  publicUrl: 'https://chat.example',
  allowedOrigins: ['https://app.example'],
  embedOrigins: ['https://shop.example'],
}
const uses: OriginUse[] = ['page', 'read', 'change']

function isAllowed(headers: OriginHeaders, use: OriginUse, policy = local): boolean {
  return decideOrigin(headers, use, policy).allowed
}

describe('the origin check with an Origin header', () => {
  it.each(uses)('allows a request of kind %s from a page of its own host', (use) => {
    expect(isAllowed({ origin: 'http://127.0.0.1:3000', host: '127.0.0.1:3000' }, use)).toBe(true)
    expect(isAllowed({ origin: 'http://chat.lan', host: 'chat.lan:80' }, use)).toBe(true)
  })

  it.each([
    'http://evil.example',
    'null',
    '',
    'https://127.0.0.1:3000',
    'http://127.0.0.1:3001',
    'http://127.0.0.1',
    'http://127.0.0.1:3000.evil.example',
    'http://localhost:3000',
    'HTTP://127.0.0.1:3000/',
  ])('refuses the Origin %j at the server http://127.0.0.1:3000', (origin) => {
    for (const use of uses) expect(isAllowed({ origin, host: '127.0.0.1:3000' }, use)).toBe(false)
  })

  it('compares the whole Origin with PUBLIC_URL and ALLOWED_ORIGINS', () => {
    const allowed = (origin: string): boolean => isAllowed({ origin, host: 'chat.example' }, 'change', behindTls)
    expect(allowed('https://chat.example')).toBe(true)
    expect(allowed('https://app.example')).toBe(true)
    expect(allowed('https://app.example.evil.example')).toBe(false)
    expect(allowed('https://chat.example:8443')).toBe(false)
    expect(allowed('http://app.example')).toBe(false)
    // This is the configured host over plain HTTP: an attacker on the network could forge its
    // pages.
    expect(allowed('http://chat.example')).toBe(false)
  })

  it('marks allowed origins of other hosts, which need CORS headers', () => {
    for (const [name, from] of [
      ['app', 'allowed'],
      ['chat', 'own'],
      ['shop', 'embed'],
    ])
      expect(decideOrigin({ origin: `https://${name}.example`, host: 'chat.example' }, 'read', behindTls)).toEqual({
        allowed: true,
        from,
      })
  })

  it.each(['a b', '127.0.0.1:3000/x', 'evil.example@127.0.0.1:3000', ''])(
    'refuses every Origin when the Host header is %j',
    (host) => {
      expect(isAllowed({ origin: 'http://127.0.0.1:3000', host }, 'read')).toBe(false)
    },
  )
})

describe('the origin check without an Origin header', () => {
  it.each(uses)('allows a request of kind %s by a program', (use) => {
    expect(isAllowed({ host: 'x' }, use)).toBe(true)
    // Node's fetch sends `sec-fetch-mode: cors`, although it is no browser.
    expect(isAllowed({ host: 'x', 'sec-fetch-mode': 'cors' }, use)).toBe(true)
  })

  it('refuses changes and WebSockets by a browser that sends no Origin', () => {
    for (const site of ['same-origin', 'same-site', 'cross-site', 'none']) {
      expect(isAllowed({ host: 'x', 'sec-fetch-site': site }, 'change')).toBe(false)
    }
    expect(isAllowed({ host: 'x', 'sec-fetch-mode': 'websocket' }, 'change')).toBe(false)
    expect(isAllowed({ host: 'x', 'sec-fetch-dest': 'empty' }, 'change')).toBe(false)
  })

  it('a browser without an Origin may read only from the same origin or a typed address', () => {
    expect(isAllowed({ host: 'x', 'sec-fetch-site': 'same-origin' }, 'read')).toBe(true)
    expect(isAllowed({ host: 'x', 'sec-fetch-site': 'none' }, 'read')).toBe(true)
    expect(isAllowed({ host: 'x', 'sec-fetch-site': 'same-site' }, 'read')).toBe(false)
    expect(isAllowed({ host: 'x', 'sec-fetch-site': 'cross-site' }, 'read')).toBe(false)
    expect(isAllowed({ host: 'x', 'sec-fetch-mode': 'no-cors' }, 'read')).toBe(false)
  })

  it('lets a browser follow a link from any site to a page', () => {
    expect(isAllowed({ host: 'x', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }, 'page')).toBe(true)
  })
})
