/**
 * TLS to every Redis of a cluster, for all three clients (node-redis, ioredis, the bus). A master is judged by the name under
 * which the cluster announces it, or by the name in the URL: clusters often announce addresses, while their certificates
 * name the host that operators configure. Both are names that the operator trusts; nothing else passes.
 */
import { isIP } from 'node:net'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'

export interface RedisTls {
  /** For SNI, which knows names only, no addresses. */
  readonly servername?: string
  readonly checkServerIdentity: (name: string, certificate: PeerCertificate) => Error | undefined
}

/** The host of a Redis URL, without the brackets of IPv6. */
export function redisHostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, '')
}

/** For the master at `host`; undefined where the URL asks for plain text. */
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

/** `host:port` as clusters name their masters; an IPv6 address may come without brackets. */
export function parseRedisPlace(place: string): { readonly host: string; readonly port: number } {
  const colon = place.lastIndexOf(':')
  return { host: place.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(place.slice(colon + 1)) }
}
