/**
 * Sends one call of the server API over HTTP.
 *
 * Guarantees: a call has at most one effect, however often it is sent, because every request that
 * changes something carries a `clientId` or an `Idempotency-Key` that is made once for all its
 * attempts. Failures that may pass are retried with back-off and jitter, a bounded number of times,
 * never earlier than the server asks for. The secret is sent to one origin only: redirects are not
 * followed.
 */
import { randomUUID } from 'node:crypto'
import { externalIdSchema, limits } from '@chorus/protocol'
import { backoffMs, wait } from '../support/delays.ts'
import { ChorusApiError, toApiError, toConnectionError } from './api-error.ts'

export const requestBounds = {
  /** Time for one attempt, the response body included. */
  timeoutMs: 10_000,
  /** Attempts for one call, the first included. */
  attemptsMax: 5,
  firstBackoffMs: 200,
  backoffMaxMs: 10_000,
  /** Longest delay that the server may ask for. Beyond it, the caller gets the error at once. */
  retryAfterMaxMs: 60_000,
  /** Maximum size of a response. */
  responseMaxBytes: 33_554_432,
} as const

/** Options of a single call. */
export interface CallOptions {
  /** Ends the call. It then rejects with the reason of the signal. */
  readonly signal?: AbortSignal
  /** Time for each attempt. Default: that of the client, 10 s. */
  readonly timeoutMs?: number
  /** Attempts, the first included; 1 turns retries off. Default: that of the client, 5. */
  readonly attemptsMax?: number
  /**
   * Key that makes a repetition of this call safe, also from another process, for 24 hours.
   * Default: a new one for each call, shared by its attempts.
   */
  readonly idempotencyKey?: string
}

export interface RequestTarget {
  readonly baseUrl: string
  readonly secret: string
  readonly fetch: typeof fetch
  readonly timeoutMs: number
  readonly attemptsMax: number
}

export interface ApiRequest {
  /** The call in words, for error messages: `send message`. */
  readonly doing: string
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly body?: unknown
  /** External id of the acting user. */
  readonly as?: string | undefined
  /** True if the body has a `clientId`, which makes a repetition safe without a key. */
  readonly hasClientId?: boolean
}

export interface ApiResponse {
  readonly status: number
  /** Parsed body; undefined for status 204. */
  readonly body: unknown
}

/** Sends a request until it succeeds, is refused, or has used up its attempts. */
export async function sendRequest(
  target: RequestTarget,
  request: ApiRequest,
  options: CallOptions = {},
): Promise<ApiResponse> {
  const { attemptsMax = target.attemptsMax, timeoutMs = target.timeoutMs, signal, idempotencyKey } = options
  const needsKey = request.method !== 'GET' && request.hasClientId !== true
  if (idempotencyKey !== undefined && !/^[!-~]{1,255}$/.test(idempotencyKey))
    throw new TypeError(`unable to ${request.doing}; idempotencyKey must be 1 to 255 printable ASCII characters`)
  const headers: Record<string, string> = {
    accept: 'application/json',
    authorization: `Bearer ${target.secret}`,
    'user-agent': 'chorus-backend',
    ...(request.body !== undefined && { 'content-type': 'application/json' }),
    ...(request.as !== undefined && { 'chorus-as': toHeaderValue(request.as) }),
    ...(needsKey && { 'idempotency-key': idempotencyKey ?? randomUUID() }),
  }
  const init: RequestInit = {
    method: request.method,
    headers,
    redirect: 'manual',
    ...(request.body !== undefined && { body: JSON.stringify(request.body) }),
  }
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await sendOnce(target, request, init, timeoutMs, signal)
    } catch (error) {
      if (!(error instanceof ChorusApiError) || error.retry !== 'later' || attempt + 1 >= attemptsMax) throw error
      const { retryAfterMs } = error
      if ((retryAfterMs ?? 0) > requestBounds.retryAfterMaxMs) throw error
      const { firstBackoffMs: firstMs, backoffMaxMs: maxMs } = requestBounds
      await wait(backoffMs(attempt, { firstMs, maxMs, retryAfterMs }), signal)
    }
  }
}

async function sendOnce(
  target: RequestTarget,
  { doing, method, path }: ApiRequest,
  init: RequestInit,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<ApiResponse> {
  signal?.throwIfAborted()
  const isRead = method === 'GET'
  const abort = new AbortController()
  const stop = (): void => abort.abort()
  const late = new Error(`no response within ${timeoutMs} ms`)
  const timer = setTimeout(() => abort.abort(late), timeoutMs)
  signal?.addEventListener('abort', stop, { once: true })
  try {
    const response = await target.fetch(target.baseUrl + path, { ...init, signal: abort.signal })
    const { status, headers } = response
    if (status === 204) return { status, body: undefined }
    const text = await readText(response)
    if (!response.ok) throw toApiError({ doing, status, headers, body: parseOrUndefined(text), isRead })
    return { status, body: JSON.parse(text) as unknown }
  } catch (error) {
    if (error instanceof ChorusApiError) throw error
    signal?.throwIfAborted()
    if (error instanceof SyntaxError || error instanceof RangeError) {
      throw new ChorusApiError(
        isRead ? 'unavailable' : 'unknown',
        `unable to ${doing}; the response is not readable (${error.message})`,
        { failure: 'other-answer', cause: error },
      )
    }
    throw toConnectionError(doing, isRead, error, abort.signal.reason === late ? timeoutMs : undefined)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
  }
}

async function readText(response: Response): Promise<string> {
  if (response.body === null) return ''
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    bytes += chunk.length
    if (bytes > requestBounds.responseMaxBytes)
      throw new RangeError(`it has more than ${requestBounds.responseMaxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** Encodes an external id for a header, as in a path. */
function toHeaderValue(externalId: string): string {
  if (!externalIdSchema.safeParse(externalId).success) {
    throw new TypeError(
      `unable to act as user; an external id has 1 to ${limits.externalIdMaxChars} characters without control characters`,
    )
  }
  return encodeURIComponent(externalId)
}
