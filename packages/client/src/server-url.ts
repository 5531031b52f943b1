/** One reading of the server's address for HTTP, event streams and WebSocket. */
import { ChorusError } from '@chorus/protocol'

export interface ServerUrl {
  /** `https://chat.example.org:8443` */
  readonly origin: string
  /** What stands before every path: empty, or `/chat`. */
  readonly path: string
}

/** Parses the address of a server; in a browser it may be relative to the page. */
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
