import { Signer } from '@fastify/cookie'
import { describe, expect, it } from 'vitest'
import { CookieSigner, readCookie, toUrlAlphabet } from './session-cookie.ts'

const secret = 'a secret of at least thirty-two characters'

describe('the session cookie', () => {
  it.each([
    ['a=b', 'b'],
    ['x=1; a=b; a=c', 'b'],
    ['a="b"', 'b'],
    ['x="1"; a="b/c+d"; y="2"', 'b/c+d'],
    ['a="b%2Fc"', 'b/c'],
    ['a= "b" ', 'b'],
    ['a=""', ''],
    ['a="', '"'],
    ['a="b', '"b'],
    ['a=b=c', 'b=c'],
  ])('reads the cookie value from the header %j', (header, value) => {
    expect(readCookie(header, 'a')).toBe(value)
  })

  it.each(['', 'b=1', 'a', 'xa=1', 'a=%E0%A4%A'])('reads no cookie value from the header %j', (header) => {
    expect(readCookie(header, 'a')).toBeUndefined()
  })

  it('signs cookies without characters that a client must quote or encode', () => {
    const signer = new CookieSigner(secret)
    for (let count = 0; count < 200; count++) {
      const signed = signer.sign(`token${count}`)
      expect(signed).toMatch(/^[\w.-]+$/)
      expect(signer.unsign(signed)).toMatchObject({ valid: true, value: `token${count}` })
    }
  })

  it('accepts signatures in the older alphabet, and converts them to the URL alphabet', () => {
    const [older, signer] = [new Signer(secret), new CookieSigner(secret)]
    for (let count = 0; count < 200; count++) {
      const signed = older.sign(`to-ken_${count}`)
      expect(signer.unsign(signed)).toMatchObject({ valid: true, value: `to-ken_${count}` })
      expect(toUrlAlphabet(signed)).toBe(signer.sign(`to-ken_${count}`))
    }
    for (const forged of ['token', 'token.', '.', `token.${'A'.repeat(43)}`, `${signer.sign('a')}x`])
      expect(signer.unsign(forged).valid).toBe(false)
  })
})
