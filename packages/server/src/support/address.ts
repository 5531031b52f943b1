/**
 * Who is on the other end: the address of a request. `X-Forwarded-For` is believed only as far as trusted proxies wrote
 * it, from the right; anybody can write the rest (N94). For limits, an IPv6 address counts as its /64 network: one
 * subscriber line has that many.
 */
import { BlockList, isIP } from 'node:net'

/** Undefined when one of the entries is neither an address nor a network. */
export function parseTrustedProxies(entries: readonly string[]): BlockList | undefined {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', prefix, ...rest] = entry.split('/')
    const version = isIP(address)
    if (version === 0 || rest.length > 0) return undefined
    const family = version === 4 ? 'ipv4' : 'ipv6'
    if (prefix === undefined) {
      list.addAddress(address, family)
      continue
    }
    const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN
    if (!(bits >= 0 && bits <= (version === 4 ? 32 : 128))) return undefined
    list.addSubnet(address, bits, family)
  }
  return list
}

/** `::ffff:10.0.0.1` is 10.0.0.1; a zone (`%eth0`) is no part of the address. */
function canonical(address: string): string {
  const bare = address.replace(/%.*$/, '')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)
  return mapped?.[1] ?? bare
}

const forwardedHopsMax = 20

/** The address of the client, given the address of the socket and the header as it came. */
export function findClientAddress(
  socketAddress: string | undefined,
  forwardedFor: string | readonly string[] | undefined,
  trusted: BlockList,
): string {
  let address = canonical(socketAddress ?? '')
  const header = typeof forwardedFor === 'string' ? forwardedFor : (forwardedFor ?? []).join(',')
  const hops = header === '' ? [] : header.split(',').slice(-forwardedHopsMax)
  while (isTrusted(address, trusted)) {
    const hop = canonical(hops.pop()?.trim() ?? '')
    if (isIP(hop) === 0) break
    address = hop
  }
  return address
}

function isTrusted(address: string, trusted: BlockList): boolean {
  const version = isIP(address)
  return version !== 0 && trusted.check(address, version === 4 ? 'ipv4' : 'ipv6')
}

/** The key under which limits count an address. */
export function limitKeyOf(address: string): string {
  if (isIP(address) !== 6) return address
  const [head = '', tail = ''] = address.toLowerCase().split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const zeros = address.includes('::') ? Math.max(0, 8 - left.length - right.length) : 0
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right]
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
