/**
 * Commands over HTTP, typed by their definitions. Every failure is a `ChorusError`: what the server said, or `unknown`
 * when nobody can say whether a change was done (rule ACK2), or `unavailable` when nothing can have been.
 */
import { ChorusError, type CommandName, type CommandRequest, type CommandResult, isErrorCode } from '@chorus/protocol'
import type { CookieJar } from './cookie-jar.ts'
import { httpRoutes } from './http-routes.ts'

/** How long a request may take. */
export const requestTimeoutMs = 10_000

export interface HttpApiOptions {
  readonly url: string
  readonly fetch: typeof fetch
  /** Left out in browsers, which keep their cookies themselves. */
  readonly cookieJar?: CookieJar
  readonly userAgent?: string
}

export interface HttpApi {
  call<Name extends CommandName>(
    name: Name,
    request: CommandRequest<Name>,
    signal?: AbortSignal,
  ): Promise<CommandResult<Name>>
  /** A plain request with credentials, for the event stream. */
  open(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response>
}

export function createHttpApi({ url, fetch: fetchNow, cookieJar, userAgent }: HttpApiOptions): HttpApi {
  const base = url.replace(/\/+$/, '')
  // Node's fetch sends `Sec-Fetch-Mode` but no `Origin`, which a server may take for a browser that hides where it is.
  const origin = cookieJar === undefined ? undefined : new URL(base).origin

  const exchange = async (path: string, init: RequestInit & { headers: Record<string, string> }): Promise<Response> => {
    const cookie = cookieJar?.header
    const headers = {
      ...init.headers,
      ...(cookie !== undefined && { cookie }),
      ...(origin !== undefined && { origin }),
      ...(cookieJar !== undefined && userAgent !== undefined && { 'user-agent': userAgent }),
    }
    const response = await fetchNow(base + path, { ...init, headers, credentials: 'include', cache: 'no-store' })
    cookieJar?.take(response)
    return response
  }

  return {
    call: async <Name extends CommandName>(name: Name, request: CommandRequest<Name>, signal?: AbortSignal) => {
      const { method, path, body } = toHttpRequest(name, request)
      const timeout = AbortSignal.timeout(requestTimeoutMs)
      try {
        const response = await exchange(path, {
          method,
          headers: { accept: 'application/json', ...(body !== undefined && { 'content-type': 'application/json' }) },
          signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
          ...(body !== undefined && { body: JSON.stringify(body) }),
        })
        if (!response.ok) throw await toChorusError(name, response, method === 'GET')
        // The only place where a body is believed to be what its command promises.
        if (response.status === 204) return null as CommandResult<Name>
        return (await response.json()) as CommandResult<Name>
      } catch (error) {
        throw toTransportError(name, method, error)
      }
    },
    open: (path, headers, signal) => exchange(path, { method: 'GET', headers, signal }),
  }
}

/** Fills the path, and puts what is left into the query (GET, DELETE) or the body. */
export function toHttpRequest(
  name: CommandName,
  request: object,
): { readonly method: string; readonly path: string; readonly body: unknown } {
  const route = httpRoutes[name]
  const rest = new Map(Object.entries(request).filter(([, value]) => value !== undefined))
  const path = route.path.replace(/\{(\w+)\}/g, (_, field: string) => {
    const value: unknown = rest.get(field)
    rest.delete(field)
    return encodeURIComponent(String(value))
  })
  if (route.method === 'GET' || route.method === 'DELETE') {
    const query = new URLSearchParams([...rest].map(([field, value]) => [field, String(value)]))
    return { method: route.method, path: query.size === 0 ? path : `${path}?${query.toString()}`, body: undefined }
  }
  const body: unknown = route.bodyIs === undefined ? Object.fromEntries(rest) : rest.get(route.bodyIs)
  return { method: route.method, path, body }
}

/** Seconds or a date, as `Retry-After` allows. */
export function parseRetryAfterMs(header: string | null): number | undefined {
  if (header === null || header === '') return undefined
  const seconds = Number(header)
  const delayMs = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(header) - Date.now()
  return Number.isFinite(delayMs) && delayMs >= 0 ? delayMs : undefined
}

/** Reads a problem document; a response of something in between (a proxy) says nothing certain, but of reads. */
export async function toChorusError(doing: string, response: Response, isRead = false): Promise<ChorusError> {
  const retryAfterMs = parseRetryAfterMs(response.headers.get('retry-after'))
  const options = retryAfterMs === undefined ? {} : { retryAfterMs }
  const problem: unknown = await response.json().catch(() => undefined)
  if (typeof problem === 'object' && problem !== null && 'code' in problem && isErrorCode(problem.code)) {
    const detail = 'detail' in problem && typeof problem.detail === 'string' ? problem.detail : undefined
    return new ChorusError(problem.code, detail ?? `unable to ${doing}; the server answered ${problem.code}`, options)
  }
  const message = `unable to ${doing}; the server answered with status ${response.status}`
  switch (response.status) {
    case 401:
      return new ChorusError('unauthenticated', message, options)
    case 403:
      return new ChorusError('forbidden', message, options)
    case 404:
      return new ChorusError('not-found', message, options)
    case 413:
      return new ChorusError('too-large', message, options)
    case 429:
      return new ChorusError('rate-limited', message, options)
    default:
      return new ChorusError(isRead && response.status > 500 ? 'unavailable' : 'unknown', message, options)
  }
}

function toTransportError(name: CommandName, method: string, error: unknown): ChorusError {
  if (error instanceof ChorusError) return error
  const code = method === 'GET' ? 'unavailable' : 'unknown'
  return new ChorusError(code, `unable to ${name}; the server could not be reached`, { cause: error })
}
