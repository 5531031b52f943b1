/**
 * Decides whether a request's origin (the site of the page that sent it) is allowed. Pure. HTTP,
 * Server-Sent Events and the Socket.IO handshake all check it first, so that no page of another
 * site can use the cookie of a signed-in user (CSRF, cross-site WebSocket).
 *
 * Allowed: the request's own host, PUBLIC_URL, ALLOWED_ORIGINS and EMBED_ORIGINS. Origins are
 * compared as a whole (scheme, host and port). Cookies of requests from EMBED_ORIGINS are ignored.
 * A program may omit the Origin. A browser that omits it, recognised by its Sec-Fetch headers, may
 * only read, and only for a page of the same origin or an address typed by the user.
 */
export interface OriginPolicy {
  readonly publicUrl: string | undefined
  readonly allowedOrigins: readonly string[]
  /** Origins of pages that may use a user token, and no cookies. */
  readonly embedOrigins: readonly string[]
}

/**
 * Kind of request. `page`: a request for one of the application's files, which any site may link
 * to. `read`: a request for data. `change`: a request that changes something, or an upgrade to a
 * WebSocket.
 */
export type OriginUse = 'page' | 'read' | 'change'

export interface OriginHeaders {
  readonly origin?: string | undefined
  readonly host?: string | undefined
  readonly 'sec-fetch-site'?: string | readonly string[] | undefined
  readonly 'sec-fetch-mode'?: string | readonly string[] | undefined
  readonly 'sec-fetch-dest'?: string | readonly string[] | undefined
}

/**
 * `from`: `own` for this server's own pages and for programs; `allowed` for pages that may also use
 * cookies; `embed` for pages that may only use a user token.
 */
export type OriginDecision =
  | { readonly allowed: true; readonly from: 'own' | 'allowed' | 'embed' }
  | { readonly allowed: false; readonly reason: string }

const own: OriginDecision = { allowed: true, from: 'own' }

/** Headers of a request that pages of other origins may set, for preflights. */
export const allowedHeaders = {
  allowed: 'Content-Type, Last-Event-ID',
  embed: 'Authorization, Content-Type, Last-Event-ID, Idempotency-Key, Chorus-Device',
} as const

/**
 * Returns whether the request is allowed. `secure`: the request came over TLS directly to this
 * process.
 */
export function decideOrigin(
  headers: OriginHeaders,
  use: OriginUse,
  policy: OriginPolicy,
  secure = false,
): OriginDecision {
  const { origin } = headers
  if (origin !== undefined) return decideNamedOrigin(origin, headers.host, policy, secure)
  const site = headers['sec-fetch-site']
  // `sec-fetch-mode: cors` alone does not mean a browser: Node's fetch sends it, too, but sends
  // none of the other Sec-Fetch headers.
  const mode = headers['sec-fetch-mode']
  const isBrowser =
    site !== undefined || headers['sec-fetch-dest'] !== undefined || (mode !== undefined && mode !== 'cors')
  if (!isBrowser || use === 'page') return own
  if (use === 'change') return { allowed: false, reason: 'a browser must send an Origin header with it' }
  return site === 'same-origin' || site === 'none' ? own : { allowed: false, reason: 'the request is cross-site' }
}

function decideNamedOrigin(
  origin: string,
  host: string | undefined,
  policy: OriginPolicy,
  secure: boolean,
): OriginDecision {
  if (origin === policy.publicUrl) return own
  if (policy.allowedOrigins.includes(origin)) return { allowed: true, from: 'allowed' }
  const ownOrigin = host === undefined ? undefined : originOf(secure ? 'https' : 'http', host)
  // Behind TLS, the same host over plain HTTP counts as another site: an attacker on the network
  // could forge its pages.
  const isTwin = policy.publicUrl !== undefined && host !== undefined && policy.publicUrl === originOf('https', host)
  if (ownOrigin === origin && !isTwin) return own
  if (policy.embedOrigins.includes(origin)) return { allowed: true, from: 'embed' }
  return {
    allowed: false,
    reason: 'its Origin is neither this server, PUBLIC_URL nor one of ALLOWED_ORIGINS or EMBED_ORIGINS',
  }
}

function originOf(scheme: 'http' | 'https', host: string): string | undefined {
  if (!/^[A-Za-z0-9.:[\]_-]+$/.test(host)) return undefined
  const text = `${scheme}://${host}`
  return URL.canParse(text) ? new URL(text).origin : undefined
}
