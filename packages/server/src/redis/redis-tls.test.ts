/** Tests which server names are accepted in the certificate of a Redis master. */
import type { PeerCertificate } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { parseRedisPlace, redisTlsOf } from './redis-tls.ts'

const certificateFor = (names: string): PeerCertificate =>
  ({ subject: { CN: 'x' }, subjectaltname: names }) as unknown as PeerCertificate

describe('TLS settings for Redis', () => {
  it('redis:// URLs use no TLS', () => {
    expect(redisTlsOf('redis://redis.example')).toBeUndefined()
  })

  it.each([
    ['redis.example', undefined, 'redis.example'],
    ['redis.example', 'node-1.example', 'node-1.example'],
    ['redis.example', '10.0.0.7', 'redis.example'],
    ['redis.example', '2001:db8::7', 'redis.example'],
    ['10.0.0.1', '10.0.0.7', undefined],
    ['[2001:db8::1]', undefined, undefined],
    ['10.0.0.1', 'node-1.example', 'node-1.example'],
  ])('for URL host %s and announced master %s, the TLS server name is %s', (seed, host, name) => {
    expect(redisTlsOf(`rediss://${seed}:6380`, host)?.servername).toBe(name)
  })

  it.each([
    ['its own name', 'node-1.example', 'DNS:node-1.example', true],
    ['its own address', '10.0.0.7', 'IP Address:10.0.0.7', true],
    ['the name in the URL', '10.0.0.7', 'DNS:redis.example', true],
    ['another name', '10.0.0.7', 'DNS:stranger.example', false],
    ['another address', '10.0.0.7', 'IP Address:10.0.0.8', false],
  ])('decides whether a Redis master may present a certificate with %s', (_what, host, names, passes) => {
    const problem = redisTlsOf('rediss://redis.example', host)?.checkServerIdentity('ignored', certificateFor(names))
    expect(problem === undefined).toBe(passes)
  })

  it.each([
    ['10.0.0.1:6379', '10.0.0.1'],
    ['node.example:6379', 'node.example'],
    ['::1:6379', '::1'],
    ['[::1]:6379', '::1'],
  ])('parses the announced Redis address %s', (place, host) => {
    expect(parseRedisPlace(place)).toEqual({ host, port: 6379 })
  })
})
