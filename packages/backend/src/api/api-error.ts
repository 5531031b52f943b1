/** The error of every failed call of the server API, and how responses become one. */
import { type ErrorCode, errorCatalogue, isErrorCode, type Retry } from '@chorus/protocol'
import type { Card } from '../model/objects.ts'

/**
 * Code of the error catalogue. `stale`: the call was based on something that has changed, and
 * `current` carries the new state.
 */
export type ApiErrorCode = ErrorCode | 'stale'

/**
 * How a call failed. `refused`: Chorus answered with an error of its catalogue. `other-answer`:
 * a response that is not by Chorus, for example by a proxy. `timeout`: no complete response in
 * time. `unreachable`: no connection, or one that broke.
 */
export type ApiFailure = 'refused' | 'other-answer' | 'timeout' | 'unreachable'

/** New state that a `stale` call should be based on. */
export interface CurrentState {
  readonly card?: Card
}

export interface ApiErrorDetails {
  readonly failure: ApiFailure
  readonly status?: number | undefined
  readonly retry?: Retry | undefined
  readonly retryAfterMs?: number | undefined
  readonly current?: CurrentState | undefined
  readonly cause?: unknown
}

/** Failure of a call of the server API. The message reads `unable to X; Y`. */
export class ChorusApiError extends Error {
  readonly code: ApiErrorCode
  /** Whether the same call may succeed later. The client has made its own attempts already. */
  readonly retry: Retry
  readonly failure: ApiFailure
  /** HTTP status, if there was a response. */
  readonly status: number | undefined
  /** Minimum time to wait before the next attempt, if the server named one. */
  readonly retryAfterMs: number | undefined
  /** New state, if `code` is `stale`. */
  readonly current: CurrentState | undefined

  constructor(code: ApiErrorCode, message: string, details: ApiErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'ChorusApiError'
    this.code = code
    this.retry = details.retry ?? (code === 'stale' ? 'never' : errorCatalogue[code].retry)
    this.failure = details.failure
    this.status = details.status
    this.retryAfterMs = details.retryAfterMs
    this.current = details.current
  }
}

/** Codes for responses without a code that this version knows. */
const codeOfStatus: { readonly [status: number]: ApiErrorCode } = {
  400: 'invalid',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not-found',
  409: 'conflict',
  413: 'too-large',
  415: 'unsupported',
  429: 'rate-limited',
}

export interface FailedResponse {
  readonly doing: string
  readonly status: number
  readonly headers: Headers
  /** Parsed body, or undefined if it is not JSON. */
  readonly body: unknown
  /** Whether the request changed nothing in any case. */
  readonly isRead: boolean
}

/** Converts a response without success to the error that the caller gets. */
export function toApiError({ doing, status, headers, body, isRead }: FailedResponse): ChorusApiError {
  const problem = isObject(body) ? body : {}
  const { code: sentCode, detail, retry: sentRetry, current } = problem
  const isKnown = sentCode === 'stale' || isErrorCode(sentCode)
  // A later version may have more codes. It still says whether a retry makes sense.
  const isByChorus = isKnown || (typeof sentCode === 'string' && isRetry(sentRetry))
  const code = isKnown ? sentCode : (codeOfStatus[status] ?? (isRead ? 'unavailable' : 'unknown'))
  const redirects = status >= 300 && status < 400 ? '; redirects are not followed, so use the final address' : ''
  const text = typeof detail === 'string' ? detail : `unable to ${doing}; the response has status ${status}${redirects}`
  return new ChorusApiError(code, text, {
    failure: isByChorus ? 'refused' : 'other-answer',
    status,
    retry: isRetry(sentRetry) ? sentRetry : redirects === '' ? undefined : 'never',
    retryAfterMs: parseRetryAfterMs(headers.get('retry-after'), headers.get('date')),
    current: code === 'stale' && isObject(current) ? current : undefined,
  })
}

/** Error codes of connections that were never open: the server certainly received nothing. */
const neverConnected = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'UND_ERR_CONNECT_TIMEOUT'])

/** Converts a failed connection or a timeout to the error that the caller gets. */
export function toConnectionError(doing: string, isRead: boolean, error: unknown, timedOutMs?: number): ChorusApiError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const systemCode = (cause as { code?: unknown } | undefined)?.code
  const isSent = timedOutMs !== undefined || typeof systemCode !== 'string' || !neverConnected.has(systemCode)
  const reason = cause instanceof Error && cause.message !== '' ? cause.message : 'no reason given'
  const why =
    timedOutMs === undefined ? `the server could not be reached (${reason})` : `no response within ${timedOutMs} ms`
  return new ChorusApiError(isSent && !isRead ? 'unknown' : 'unavailable', `unable to ${doing}; ${why}`, {
    failure: timedOutMs === undefined ? 'unreachable' : 'timeout',
    cause: error,
  })
}

/** Parses `Retry-After`: seconds, or a date, which is compared with the response's own `Date`. */
export function parseRetryAfterMs(header: string | null, sentAt: string | null): number | undefined {
  if (header === null || header.trim() === '') return undefined
  const seconds = Number(header)
  const sentAtMs = Date.parse(sentAt ?? '')
  const nowMs = Number.isNaN(sentAtMs) ? Date.now() : sentAtMs
  const delayMs = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(header) - nowMs
  return Number.isFinite(delayMs) && delayMs >= 0 ? delayMs : undefined
}

function isRetry(value: unknown): value is Retry {
  return value === 'never' || value === 'later'
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
