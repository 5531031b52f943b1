import { describe, expect, it } from 'vitest'
import { findClientAddress, limitKeyOf, parseTrustedProxies } from './address.ts'

const nobody = parseTrustedProxies([])!
const balancer = parseTrustedProxies(['127.0.0.1', '10.0.0.0/8', 'fd00::/8'])!

describe('findClientAddress', () => {
  it('believes no header by default (N94)', () => {
    expect(findClientAddress('127.0.0.1', '1.2.3.4', nobody)).toBe('127.0.0.1')
    expect(findClientAddress('::ffff:127.0.0.1', '1.2.3.4', nobody)).toBe('127.0.0.1')
  })

  it('believes what trusted proxies wrote, from the right', () => {
    expect(findClientAddress('127.0.0.1', '1.2.3.4', balancer)).toBe('1.2.3.4')
    expect(findClientAddress('127.0.0.1', '6.6.6.6, 1.2.3.4, 10.9.8.7', balancer)).toBe('1.2.3.4')
    expect(findClientAddress('fd00::1', '2001:db8::1', balancer)).toBe('2001:db8::1')
    expect(findClientAddress('9.9.9.9', '1.2.3.4', balancer)).toBe('9.9.9.9')
  })

  it('stops at what is no address', () => {
    expect(findClientAddress('127.0.0.1', 'unknown', balancer)).toBe('127.0.0.1')
    expect(findClientAddress('127.0.0.1', undefined, balancer)).toBe('127.0.0.1')
    expect(findClientAddress('127.0.0.1', '1.2.3.4, evil\u0000', balancer)).toBe('127.0.0.1')
    expect(findClientAddress(undefined, undefined, balancer)).toBe('')
  })
})

describe('parseTrustedProxies', () => {
  it.each(['localhost', '10.0.0.0/33', '10.0.0.0/x', '::/129', '10.0.0.0/8/8', ''])('refuses %j', (entry) => {
    expect(parseTrustedProxies([entry])).toBeUndefined()
  })
})

describe('limitKeyOf', () => {
  it('takes an IPv6 network of 64 bits for one', () => {
    expect(limitKeyOf('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64')
    expect(limitKeyOf('2001:DB8:1:2::1')).toBe('2001:db8:1:2::/64')
    expect(limitKeyOf('::1')).toBe('0:0:0:0::/64')
    expect(limitKeyOf('1.2.3.4')).toBe('1.2.3.4')
  })
})
