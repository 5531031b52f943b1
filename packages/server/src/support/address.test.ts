import { describe, expect, it } from 'vitest'
import { findClientAddress, limitKeyOf, parseTrustedProxies } from './address.ts'

const nobody = parseTrustedProxies([])!
const balancer = parseTrustedProxies(['127.0.0.1', '10.0.0.0/8', 'fd00::/8'])!

describe('the client address of a request', () => {
  it('ignores X-Forwarded-For when no proxy is trusted', () => {
    expect(findClientAddress('127.0.0.1', '1.2.3.4', nobody)).toBe('127.0.0.1')
    expect(findClientAddress('::ffff:127.0.0.1', '1.2.3.4', nobody)).toBe('127.0.0.1')
  })

  it('reads the addresses that trusted proxies wrote in X-Forwarded-For, from the right', () => {
    expect(findClientAddress('127.0.0.1', '1.2.3.4', balancer)).toBe('1.2.3.4')
    expect(findClientAddress('127.0.0.1', '6.6.6.6, 1.2.3.4, 10.9.8.7', balancer)).toBe('1.2.3.4')
    expect(findClientAddress('fd00::1', '2001:db8::1', balancer)).toBe('2001:db8:0:0:0:0:0:1')
    expect(findClientAddress('9.9.9.9', '1.2.3.4', balancer)).toBe('9.9.9.9')
  })

  it.each([
    ['203.0.113.7:51234', '203.0.113.7'],
    ['"203.0.113.7:51234"', '203.0.113.7'],
    ['[2001:db8::1]', '2001:db8:0:0:0:0:0:1'],
    ['[2001:db8::1]:443', '2001:db8:0:0:0:0:0:1'],
    ['"[2001:DB8::1]:443"', '2001:db8:0:0:0:0:0:1'],
    ['2001:db8::1%eth0', '2001:db8:0:0:0:0:0:1'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::FFFF:cb00:7107', '203.0.113.7'],
    ['[::ffff:203.0.113.7]:80', '203.0.113.7'],
    ['0:0:0:0:0:ffff:203.0.113.7', '203.0.113.7'],
    ['1.1.1.1, 203.0.113.7:51234, 10.0.0.1:443', '203.0.113.7'],
    ['1.1.1.1, 203.0.113.7:5,\t[fd00::2]:443 , 10.0.0.1', '203.0.113.7'],
    ['203.0.113.7, , ,', '203.0.113.7'],
    [',203.0.113.7,,10.0.0.1,', '203.0.113.7'],
  ])('finds the client address in the X-Forwarded-For header %j', (header, client) => {
    expect(findClientAddress('127.0.0.1', header, balancer)).toBe(client)
    expect(findClientAddress('::ffff:7f00:1', header.split(','), balancer)).toBe(client)
  })

  it.each([
    ['_p7', '127.0.0.1'],
    ['1.1.1.1, unknown, 10.0.0.1', '10.0.0.1'],
    ['1.1.1.1, _hidden, 10.0.0.1:1234', '10.0.0.1'],
    ['1.1.1.1, 203.0.113.7:x', '127.0.0.1'],
    ['1.1.1.1, [203.0.113.7', '127.0.0.1'],
    ['1.1.1.1, 203.0.113.7:80:80', '127.0.0.1'],
    ['1.1.1.1, 010.0.0.1', '127.0.0.1'],
    ['1.1.1.1, 1.2.3.4.5:80', '127.0.0.1'],
    [',,,', '127.0.0.1'],
  ])('uses the address of the proxy when the X-Forwarded-For header %j hides the client', (header, client) => {
    expect(findClientAddress('127.0.0.1', header, balancer)).toBe(client)
  })

  it('stops reading X-Forwarded-For at an entry that is not an address', () => {
    expect(findClientAddress('127.0.0.1', 'unknown', balancer)).toBe('127.0.0.1')
    expect(findClientAddress('127.0.0.1', undefined, balancer)).toBe('127.0.0.1')
    expect(findClientAddress('127.0.0.1', '1.2.3.4, evil\u0000', balancer)).toBe('127.0.0.1')
    expect(findClientAddress(undefined, undefined, balancer)).toBe('')
  })
})

describe('parseTrustedProxies with invalid entries', () => {
  it.each(['localhost', '10.0.0.0/33', '10.0.0.0/x', '::/129', '10.0.0.0/8/8', ''])('refuses the proxy %j', (entry) => {
    expect(parseTrustedProxies([entry])).toBeUndefined()
  })
})

describe('entries for trusted proxies', () => {
  it.each([
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.0/104', '10.3.4.5'],
    ['::FFFF:a00:1', '::ffff:10.0.0.1'],
    ['FD00:0::/8', 'fd12::7'],
    ['fe80::1', 'fe80::1%eth0'],
    ['fe80::1%eth0', 'fe80:0::1%eth1'],
  ])('the trusted entry %s includes the proxy %s', (entry, proxy) => {
    const trusted = parseTrustedProxies([entry])
    expect(trusted).toBeDefined()
    expect(findClientAddress(proxy, '1.2.3.4', trusted!)).toBe('1.2.3.4')
  })

  it('refuses a network of mapped IPv4 addresses that is wider than IPv4', () => {
    expect(parseTrustedProxies(['::ffff:10.0.0.0/95'])).toBeUndefined()
  })
})

describe('the address key of rate limits', () => {
  it('rate limits count an IPv6 /64 network as one address', () => {
    expect(limitKeyOf('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64')
    expect(limitKeyOf('2001:DB8:1:2::1')).toBe('2001:db8:1:2::/64')
    expect(limitKeyOf('::1')).toBe('0:0:0:0::/64')
    expect(limitKeyOf('1.2.3.4')).toBe('1.2.3.4')
    for (const same of ['::ffff:1.2.3.4', '::FFFF:102:304', '0:0:0:0:0:ffff:102:304', '::ffff:1.2.3.4%eth0'])
      expect(limitKeyOf(same)).toBe('1.2.3.4')
    for (const same of ['2001:0db8:0001:0002::', '2001:db8:1:2::9%eth0', '2001:db8:1:2:0:0:1.2.3.4'])
      expect(limitKeyOf(same)).toBe('2001:db8:1:2::/64')
    expect(limitKeyOf('')).toBe('')
  })
})
