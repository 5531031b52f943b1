/**
 * TLS settings for each master of a Redis Cluster. They are used by all three clients (node-redis,
 * ioredis, and the bus between servers). The certificate of a master must match the name that the
 * cluster announces for it, or the name in the URL: clusters often announce addresses, while their
 * certificates name the host that operators configure. The operator trusts both names; no other
 * name is accepted.
 */
import { isIP } from 'node:net'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'

export interface RedisTls {
  /** Server name for the TLS extension SNI, which allows host names but no IP addresses. */
  readonly servername?: string
  readonly checkServerIdentity: (name: string, certificate: PeerCertificate) => Error | undefined
}

/** Returns the host of a Redis URL. An IPv6 address is returned without brackets. */
export function redisHostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '')
}

/**
 * Returns the TLS settings for the master at `host`, or undefined if the URL asks for plain text.
 */
export function redisTlsOf(url: string, host: string = redisHostOf(url)): RedisTls | undefined {
  if (new URL(url).protocol !== 'rediss:') return undefined
  const seed = redisHostOf(url)
  const servername = [host, seed].find((name) => isIP(name) === 0)
  return {
    ...(servername !== undefined && { servername }),
    checkServerIdentity: (_name, certificate) => {
      const problem = checkServerIdentity(host, certificate)
      return problem === undefined || host === seed ? problem : checkServerIdentity(seed, certificate)
    },
  }
}

/**
 * Parses an address `host:port` that a cluster announces. An IPv6 address may lack its brackets.
 */
export function parseRedisPlace(place: string): { readonly host: string; readonly port: number } {
  const colon = place.lastIndexOf(':')
  return { host: place.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(place.slice(colon + 1)) }
}
