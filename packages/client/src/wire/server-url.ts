/** Parses the server address once for HTTP, event streams and WebSocket. */
import { ChorusError } from '@chorus/protocol'

export interface ServerUrl {
  /** Scheme, host and port, such as `https://chat.example.org:8443`. */
  readonly origin: string
  /** Prefix of every path: empty, or for example `/chat`. */
  readonly path: string
}

/**
 * Parses a server address. In a browser the address may be relative to the page. Throws `invalid`
 * for an address that is not http or https, or that has a query, a fragment or credentials.
 */
export function parseServerUrl(url: string): ServerUrl {
  const page = typeof location === 'undefined' ? undefined : location.href
  const parsed = URL.canParse(url, page) ? new URL(url, page) : undefined
  const isPlain = parsed?.search === '' && parsed.hash === '' && parsed.username === '' && parsed.password === ''
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol) || !isPlain) {
    throw new ChorusError(
      'invalid',
      `unable to make client; "${url}" is not an http or https address without a query and credentials`,
    )
  }
  return { origin: parsed.origin, path: parsed.pathname.replace(/\/+$/, '') }
}
