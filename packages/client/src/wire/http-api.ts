/**
 * Sends commands over HTTP, typed by their definitions.
 *
 * Guarantee: every failure is a `ChorusError`. It carries the server's error if there was one.
 * Otherwise it is `unknown` when a change may have been made (rule ACK2), and `unavailable` when
 * nothing can have changed.
 */
import {
  ChorusError,
  type CommandRequest,
  type CommandResult,
  type ErrorCode,
  isErrorCode,
  type UserCommandName,
} from '@chorus/protocol'
import { type Clock, systemClock } from '../support/clock.ts'
import { type CookieJar, keepsCookies } from './cookie-jar.ts'
import { httpRoutes } from './http-routes.ts'
import { readText } from './read-body.ts'
import { isObject, isText } from './server-events.ts'
import { parseServerUrl, type ServerUrl } from './server-url.ts'

/**
 * Maximum time without data from the server during a request. A response body may take longer in
 * total, as long as data keeps arriving.
 */
export const requestTimeoutMs = 10_000
/** Maximum time for a response body where `fetch` cannot read it as a stream. */
const wholeBodyMaxMs = 120_000

export interface HttpApiOptions {
  readonly url: string | ServerUrl
  readonly fetch: typeof fetch
  readonly cookieJar?: CookieJar
  readonly userAgent?: string
  readonly clock?: Pick<Clock, 'after'>
}

export interface HttpApi {
  call<Name extends UserCommandName>(name: Name, request: CommandRequest<Name>): Promise<CommandResult<Name>>
}

export interface HttpLine extends HttpApi {
  /** Sends a command. `signal` aborts the request when the client is stopped. */
  call<Name extends UserCommandName>(
    name: Name,
    request: CommandRequest<Name>,
    signal?: AbortSignal,
  ): Promise<CommandResult<Name>>
  /** Sends a plain GET request with credentials, for the event stream. */
  open(path: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response>
}

export function createHttpApi(options: HttpApiOptions): HttpLine {
  const { fetch: fetchNow, cookieJar, userAgent, clock = systemClock } = options
  const { origin, path: base } = typeof options.url === 'string' ? parseServerUrl(options.url) : options.url
  const canNameItself = userAgent !== undefined && !keepsCookies()

  const exchange = async (path: string, init: RequestInit & { headers: Record<string, string> }): Promise<Response> => {
    const headers = {
      ...init.headers,
      ...cookieJar?.headers,
      // Node's fetch sends `Sec-Fetch-Mode` but no `Origin`. A server could think that such a
      // request comes from a browser that hides its origin, so set the header here. Browsers ignore
      // it and set their own `Origin`.
      ...(cookieJar !== undefined && { origin }),
      ...(canNameItself && { 'user-agent': userAgent }),
    }
    const response = await fetchNow(origin + base + path, {
      ...init,
      headers,
      credentials: 'include',
      cache: 'no-store',
    })
    cookieJar?.store(response)
    return response
  }

  return {
    call: async <Name extends UserCommandName>(name: Name, request: CommandRequest<Name>, life?: AbortSignal) => {
      const { method, path, body } = toHttpRequest(name, request)
      const refused = (why: string, cause?: unknown): ChorusError =>
        new ChorusError(method === 'GET' ? 'unavailable' : 'unknown', `unable to ${name}; ${why}`, { cause })
      // A function, not a variable: the request may be aborted during any await, so the signal must
      // be read each time.
      const isStopped = (): boolean => life?.aborted === true
      if (isStopped()) throw new ChorusError('unavailable', `unable to ${name}; the client was stopped`)
      const abort = new AbortController()
      const stop = (): void => abort.abort()
      const seen = { silence: false, answer: false }
      let cancelSilence: () => void = () => undefined
      const listen = (maxMs: number): void => {
        cancelSilence()
        cancelSilence = clock.after(maxMs, () => {
          seen.silence = true
          abort.abort()
        })
      }
      listen(requestTimeoutMs)
      life?.addEventListener('abort', stop)
      try {
        const response = await exchange(path, {
          method,
          headers: { accept: 'application/json', ...(body !== undefined && { 'content-type': 'application/json' }) },
          signal: abort.signal,
          ...(body !== undefined && { body: JSON.stringify(body) }),
        })
        seen.answer = true
        listen(typeof response.body?.getReader === 'function' ? requestTimeoutMs : wholeBodyMaxMs)
        if (!response.ok) throw await toChorusError(name, response, method === 'GET')
        // The type assertions here are the only place where a response body is trusted without a
        // check.
        if (response.status === 204) return null as CommandResult<Name>
        return JSON.parse(await readText(response, () => listen(requestTimeoutMs))) as CommandResult<Name>
      } catch (error) {
        if (error instanceof ChorusError) throw error
        if (isStopped()) throw refused('the client was stopped', error)
        if (seen.silence) throw refused('the server did not respond in time', error)
        const reason = error instanceof Error && error.message !== '' ? ` (${error.message})` : ''
        throw refused(
          seen.answer ? `the response could not be read${reason}` : `the server could not be reached${reason}`,
          error,
        )
      } finally {
        cancelSilence()
        life?.removeEventListener('abort', stop)
      }
    },
    open: (path, headers, signal) => exchange(path, { method: 'GET', headers, signal }),
  }
}

/**
 * Builds the HTTP request: fills the path, then puts the remaining fields into the query (GET,
 * DELETE) or the body.
 */
export function toHttpRequest(
  name: UserCommandName,
  request: object,
): { readonly method: string; readonly path: string; readonly body: unknown } {
  const route = httpRoutes[name]
  if (route === undefined) throw new ChorusError('invalid', `unable to ${name}; it is a command of Socket.IO alone`)
  const [method = '', pattern = '', bodyIs] = route.split(' ')
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

/**
 * Parses `Retry-After`, given in seconds or as a date, to milliseconds. A date is compared with the
 * response's own `Date` header, not with the device's clock.
 */
export function parseRetryAfterMs(header: string | null, sentAt: string | null = null): number | undefined {
  if (header === null || header === '') return undefined
  const seconds = Number(header)
  const sentAtMs = Date.parse(sentAt ?? '')
  const nowMs = Number.isNaN(sentAtMs) ? Date.now() : sentAtMs
  const delayMs = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(header) - nowMs
  return Number.isFinite(delayMs) && delayMs >= 0 ? delayMs : undefined
}

/** Error codes for responses without a problem document, by HTTP status. */
const codeOfStatus: { readonly [status: number]: ErrorCode } = {
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not-found',
  413: 'too-large',
  429: 'rate-limited',
}

/**
 * Converts a failed response to a `ChorusError`, from its problem document if it has one. After a
 * response from a proxy it is unknown whether the server made a change, except for reads.
 */
export async function toChorusError(doing: string, response: Response, isRead = false): Promise<ChorusError> {
  const retryAfterMs = parseRetryAfterMs(response.headers.get('retry-after'), response.headers.get('date'))
  const options = retryAfterMs === undefined ? {} : { retryAfterMs }
  const problem: unknown = await response.json().catch(() => undefined)
  const { code: said, detail, current } = isObject(problem) ? problem : {}
  if (isErrorCode(said)) {
    const sentence = isText(detail) ? detail : `unable to ${doing}; the server responded with ${said}`
    return new ChorusError(said, sentence, { ...options, current })
  }
  const message = `unable to ${doing}; the server responded with status ${response.status}`
  const code = codeOfStatus[response.status] ?? (isRead && response.status > 500 ? 'unavailable' : 'unknown')
  return new ChorusError(code, message, options)
}
