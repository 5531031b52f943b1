/**
 * Finds the client address of a request. The header `X-Forwarded-For` is read from right to left,
 * and only as far as trusted proxies wrote it, because any client can write the rest. In rate
 * limits, all IPv6 addresses of a /64 network count as one, because one internet connection usually
 * has a whole /64 network.
 */
import { BlockList, isIP } from 'node:net'

/**
 * Parses the configured list of trusted proxies. Returns undefined if an entry is neither an
 * address nor a network.
 */
export function parseTrustedProxies(entries: readonly string[]): BlockList | undefined {
  const list = new BlockList()
  for (const entry of entries) {
    const [written = '', prefix, ...rest] = entry.split('/')
    const address = canonical(written)
    if (address === undefined || rest.length > 0) return undefined
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
    if (prefix === undefined) {
      list.addAddress(address, family)
      continue
    }
    // A network of IPv4 addresses mapped into IPv6 (`::ffff:10.0.0.0/104`) is an IPv4 network.
    const mappedBits = isIP(written) === 6 && family === 'ipv4' ? 96 : 0
    const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) - mappedBits : Number.NaN
    if (!(bits >= 0 && bits <= (family === 'ipv4' ? 32 : 128))) return undefined
    list.addSubnet(address, bits, family)
  }
  return list
}

/**
 * Returns the one spelling under which an address is compared, or undefined for an invalid address.
 * IPv4 is written with dots, also where it is mapped into IPv6. IPv6 is written as eight groups in
 * lower case. A zone (`%eth0`) is not part of the address.
 */
function canonical(text: string): string | undefined {
  const bare = text.replace(/%.*$/s, '')
  const version = isIP(bare)
  if (version === 4) return bare
  if (version === 0) return undefined
  const groups = groupsOf(bare)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (isMapped) return [groups[6], groups[7]].map((group = 0) => `${group >> 8}.${group & 0xff}`).join('.')
  return groups.map((group) => group.toString(16)).join(':')
}

/**
 * Returns the eight numbers of a valid IPv6 address. Its last two may be written as an IPv4
 * address.
 */
function groupsOf(address: string): readonly number[] {
  const [head = '', tail] = address.split('::')
  const left = numbersOf(head)
  if (tail === undefined) return left
  const right = numbersOf(tail)
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right]
}

function numbersOf(part: string): number[] {
  if (part === '') return []
  return part.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
    return [a * 256 + b, c * 256 + d]
  })
}

/**
 * Returns the address in one entry of `X-Forwarded-For`. Some proxies write it with a port
 * (`203.0.113.7:51234`), in brackets (`[2001:db8::1]:443`) or in quotes. Returns undefined for
 * `unknown`, for names that hide an address (`_p7`) and for anything else.
 */
function parseHop(text: string): string | undefined {
  const bare = text.trim().replace(/^"(.*)"$/s, '$1')
  const bracketed = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(bare)?.[1]
  const withPort = /^([\d.]+):\d{1,5}$/.exec(bare)?.[1]
  return canonical(bracketed ?? withPort ?? bare)
}

const forwardedHopsMax = 20

/**
 * Returns the client's address, from the address of the socket and the header `X-Forwarded-For`.
 */
export function findClientAddress(
  socketAddress: string | undefined,
  forwardedFor: string | readonly string[] | undefined,
  trusted: BlockList,
): string {
  let address = canonical(socketAddress ?? '') ?? ''
  const header = typeof forwardedFor === 'string' ? forwardedFor : (forwardedFor ?? []).join(',')
  // Empty entries of X-Forwarded-For are ignored (RFC 9110, 5.6.1).
  const hops = header.split(',').filter((hop) => hop.trim() !== '')
  for (let count = 0; count < forwardedHopsMax && isTrusted(address, trusted); count++) {
    const hop = parseHop(hops.pop() ?? '')
    // The proxy did not reveal this client's address, so the request counts under the proxy's
    // address.
    if (hop === undefined) break
    address = hop
  }
  return address
}

function isTrusted(address: string, trusted: BlockList): boolean {
  const version = isIP(address)
  return version !== 0 && trusted.check(address, version === 4 ? 'ipv4' : 'ipv6')
}

/**
 * Returns the key under which rate limits count an address. IPv6 addresses count by their /64
 * network, in whatever spelling.
 */
export function limitKeyOf(address: string): string {
  const known = canonical(address)
  if (known === undefined || isIP(known) === 4) return known ?? address
  return `${known.split(':').slice(0, 4).join(':')}::/64`
}
