/**
 * Commands over HTTP, typed by their definitions. Every failure is a `ChorusError`: what the server said, or `unknown`
 * when nobody can say whether a change was done (rule ACK2), or `unavailable` when nothing can have been.
 */
import {
  ChorusError,
  type CommandName,
  type CommandRequest,
  type CommandResult,
  type ErrorCode,
  isErrorCode,
} from '@chorus/protocol'
import type { CookieJar } from './cookie-jar.ts'
import { httpRoutes } from './http-routes.ts'
import { isObject, isText } from './server-events.ts'

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
  call<Name extends CommandName>(name: Name, request: CommandRequest<Name>): Promise<CommandResult<Name>>
}

export interface HttpLine extends HttpApi {
  /** A plain request with credentials, for the event stream. */
  open(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response>
}

export function createHttpApi({ url, fetch: fetchNow, cookieJar, userAgent }: HttpApiOptions): HttpLine {
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
    call: async <Name extends CommandName>(name: Name, request: CommandRequest<Name>) => {
      const { method, path, body } = toHttpRequest(name, request)
      try {
        const response = await exchange(path, {
          method,
          headers: { accept: 'application/json', ...(body !== undefined && { 'content-type': 'application/json' }) },
          signal: AbortSignal.timeout(requestTimeoutMs),
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
  const [method = '', pattern = '', bodyIs] = httpRoutes[name].split(' ')
  const rest = new Map(Object.entries(request).filter(([, value]) => value !== undefined))
  const path = pattern.replace(/\{(\w+)\}/g, (_, field: string) => {
    const value: unknown = rest.get(field)
    rest.delete(field)
    return encodeURIComponent(String(value))
  })
  if (method === 'GET' || method === 'DELETE') {
    const query = new URLSearchParams([...rest].map(([field, value]) => [field, String(value)]))
    return { method, path: query.size === 0 ? path : `${path}?${query.toString()}`, body: undefined }
  }
  const body: unknown = bodyIs === undefined ? Object.fromEntries(rest) : rest.get(bodyIs)
  return { method, path, body }
}

/** Seconds or a date, as `Retry-After` allows. */
export function parseRetryAfterMs(header: string | null): number | undefined {
  if (header === null || header === '') return undefined
  const seconds = Number(header)
  const delayMs = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(header) - Date.now()
  return Number.isFinite(delayMs) && delayMs >= 0 ? delayMs : undefined
}

/** What a status says without a problem document. */
const codeOfStatus: { readonly [status: number]: ErrorCode } = {
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not-found',
  413: 'too-large',
  429: 'rate-limited',
}

/** Reads a problem document; a response of something in between (a proxy) says nothing certain, but of reads. */
export async function toChorusError(doing: string, response: Response, isRead = false): Promise<ChorusError> {
  const retryAfterMs = parseRetryAfterMs(response.headers.get('retry-after'))
  const options = retryAfterMs === undefined ? {} : { retryAfterMs }
  const problem: unknown = await response.json().catch(() => undefined)
  const { code: said, detail } = isObject(problem) ? problem : {}
  if (isErrorCode(said)) {
    const sentence = isText(detail) ? detail : `unable to ${doing}; the server answered ${said}`
    return new ChorusError(said, sentence, options)
  }
  const message = `unable to ${doing}; the server answered with status ${response.status}`
  const code = codeOfStatus[response.status] ?? (isRead && response.status > 500 ? 'unavailable' : 'unknown')
  return new ChorusError(code, message, options)
}

function toTransportError(name: CommandName, method: string, error: unknown): ChorusError {
  if (error instanceof ChorusError) return error
  const code = method === 'GET' ? 'unavailable' : 'unknown'
  return new ChorusError(code, `unable to ${name}; the server could not be reached`, { cause: error })
}
