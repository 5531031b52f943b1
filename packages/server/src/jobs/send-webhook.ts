/**
 * One attempt to deliver one webhook: a signed POST. Only 2xx is an answer; a redirect is none, so that a secret never
 * signs for somebody else's address. Time and what is read of the answer are bounded.
 *
 * It goes by node:http: `fetch` refuses some eighty ports that browsers must not ask (10080, 6000), and an operator may
 * well have an endpoint there.
 */
import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { signWebhook } from '@chorus/protocol'

export const sendBounds = {
  timeoutMs: 10_000,
  /** Read of an answer, so that its connection can be used again; the rest is cut. */
  answerMaxBytes: 65_536,
  /** Connections to one endpoint at a time. */
  socketsMax: 16,
  /** A kept connection without traffic is closed. */
  idleMs: 30_000,
} as const

export interface WebhookAttempt {
  readonly url: string
  readonly id: string
  readonly body: string
  readonly secrets: readonly string[]
  /** The database's time: receivers refuse what is minutes off. */
  readonly now: Date
  readonly timeoutMs?: number
  /** Ends it early, when the server stops. */
  readonly signal?: AbortSignal
}

export type AttemptOutcome =
  | { readonly kind: 'accepted'; readonly status: number }
  /** 410: nobody wants anything there any more. */
  | { readonly kind: 'gone'; readonly status: 410 }
  | { readonly kind: 'failed'; readonly status: number | null; readonly reason: string }

export async function sendWebhook(attempt: WebhookAttempt): Promise<AttemptOutcome> {
  const { url, id, body, secrets, now, timeoutMs = sendBounds.timeoutMs, signal } = attempt
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
  'http:': new HttpAgent({ keepAlive: true, maxSockets: sendBounds.socketsMax, timeout: sendBounds.idleMs }),
  'https:': new HttpsAgent({ keepAlive: true, maxSockets: sendBounds.socketsMax, timeout: sendBounds.idleMs }),
}

interface PostOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** Resolves with the status, when the response has ended or enough of it was read. */
async function post(url: URL, body: string, { headers, signal }: PostOptions): Promise<number> {
  const { protocol } = url
  if (protocol !== 'http:' && protocol !== 'https:') throw new Error('the address is not http or https')
  const send = protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const request = send(url, { method: 'POST', agent: agents[protocol], headers, signal }, (response) => {
      // The status is the answer: what is wrong with the body changes nothing.
      const end = (): void => resolve(response.statusCode ?? 0)
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > sendBounds.answerMaxBytes) response.destroy()
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
