/**
 * One attempt to deliver one webhook: a signed POST. Only 2xx is an answer; a redirect is none, so that a secret never
 * signs for somebody else's address. Time and what is read of the answer are bounded.
 */
import { signWebhook } from '@chorus/protocol'

export const sendBounds = {
  timeoutMs: 10_000,
  /** Read of an answer, so that its connection can be used again; the rest is cut. */
  answerMaxBytes: 65_536,
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
    const response = await fetch(url, {
      method: 'POST',
      redirect: 'manual',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'Chorus-Webhooks/1',
        ...(await signWebhook({ id, timestamp: now, body, secrets })),
      },
      body,
      signal: AbortSignal.any(signals),
    })
    const { status } = response
    await readSome(response)
    if (status >= 200 && status < 300) return { kind: 'accepted', status }
    if (status === 410) return { kind: 'gone', status }
    if (status >= 300 && status < 400) return { kind: 'failed', status, reason: 'redirects are not followed' }
    return { kind: 'failed', status, reason: `answered ${status}` }
  } catch (error) {
    return { kind: 'failed', status: null, reason: reasonOf(error, timeoutMs) }
  }
}

/** The status is the answer: what is wrong with the body changes nothing. */
async function readSome(response: Response): Promise<void> {
  const reader = response.body?.getReader()
  if (reader === undefined) return
  let bytes = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      bytes += value.byteLength
      if (bytes > sendBounds.answerMaxBytes) break
    }
    await reader.cancel()
  } catch {
    // Cut short, or late.
  }
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (error instanceof Error && error.name === 'TimeoutError') return `no answer within ${timeoutMs} ms`
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const code = (cause as { code?: unknown }).code
  return typeof code === 'string' ? code : cause instanceof Error ? cause.message.slice(0, 200) : 'unable to connect'
}
