/**
 * Makes one attempt to deliver a webhook: a signed POST. Only a 2xx status counts as accepted.
 * Redirects are not followed, so that the endpoint's secret never signs a request to a different
 * address. The time of the attempt and the size of the response are limited.
 *
 * Uses node:http, because `fetch` refuses about eighty ports that are forbidden in browsers (such
 * as 10080 and 6000). An operator may run an endpoint on one of them.
 */
import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { signWebhook } from '@chorus/protocol'

export const sendLimits = {
  timeoutMs: 10_000,
  /**
   * Maximum number of response bytes to read. A response that was read completely leaves its
   * connection reusable; the connection of a longer response is closed.
   */
  answerMaxBytes: 65_536,
  /** Maximum number of concurrent connections to one endpoint. */
  socketsMax: 16,
  /** Time after which an idle keep-alive connection is closed. */
  idleMs: 30_000,
} as const

export interface WebhookAttempt {
  readonly url: string
  readonly id: string
  readonly body: string
  readonly secrets: readonly string[]
  /**
   * Current time of the database. It becomes the signed timestamp, and receivers refuse timestamps
   * that are minutes off.
   */
  readonly now: Date
  readonly timeoutMs?: number
  /** Aborts the attempt early when the server stops. */
  readonly signal?: AbortSignal
}

export type AttemptOutcome =
  | { readonly kind: 'accepted'; readonly status: number }
  /** Status 410: the endpoint no longer accepts webhooks and is disabled. */
  | { readonly kind: 'gone'; readonly status: 410 }
  | { readonly kind: 'failed'; readonly status: number | null; readonly reason: string }

export async function sendWebhook(attempt: WebhookAttempt): Promise<AttemptOutcome> {
  const { url, id, body, secrets, now, timeoutMs = sendLimits.timeoutMs, signal } = attempt
  const signals = [AbortSignal.timeout(timeoutMs), ...(signal === undefined ? [] : [signal])]
  try {
    const status = await post(new URL(url), body, {
      headers: {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(body)),
        'user-agent': 'Chorus-Webhooks/1',
        ...(await signWebhook({ id, timestamp: now, body, secrets })),
      },
      signal: AbortSignal.any(signals),
    })
    if (status >= 200 && status < 300) return { kind: 'accepted', status }
    if (status === 410) return { kind: 'gone', status }
    if (status >= 300 && status < 400) return { kind: 'failed', status, reason: 'redirects are not followed' }
    return { kind: 'failed', status, reason: `answered ${status}` }
  } catch (error) {
    return { kind: 'failed', status: null, reason: reasonOf(error, timeoutMs) }
  }
}

const agents = {
  'http:': new HttpAgent({ keepAlive: true, maxSockets: sendLimits.socketsMax, timeout: sendLimits.idleMs }),
  'https:': new HttpsAgent({ keepAlive: true, maxSockets: sendLimits.socketsMax, timeout: sendLimits.idleMs }),
}

interface PostOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/**
 * Sends the POST. Resolves to the status code once the response has ended or its size limit is
 * reached.
 */
async function post(url: URL, body: string, { headers, signal }: PostOptions): Promise<number> {
  const { protocol } = url
  if (protocol !== 'http:' && protocol !== 'https:') throw new Error('the address is not http or https')
  const send = protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const request = send(url, { method: 'POST', agent: agents[protocol], headers, signal }, (response) => {
      // Only the status counts. An error while reading the response body does not change the
      // outcome.
      const end = (): void => resolve(response.statusCode ?? 0)
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > sendLimits.answerMaxBytes) response.destroy()
      })
      response.on('error', end)
      response.on('close', end)
    })
    request.on('error', reject)
    request.end(body)
  })
}

function reasonOf(error: unknown, timeoutMs: number): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (cause instanceof Error && cause.name === 'TimeoutError') return `no answer within ${timeoutMs} ms`
  const code = (cause as { code?: unknown }).code
  return typeof code === 'string' ? code : cause instanceof Error ? cause.message.slice(0, 200) : 'unable to connect'
}
