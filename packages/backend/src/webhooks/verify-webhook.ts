/**
 * Verifies requests that Chorus sends to a back end, and returns their content typed: webhooks, and
 * the question of the pre-send hook. Both have the signature of Standard Webhooks.
 *
 * Guarantee: the content is returned only if one of the secrets signed exactly these bytes, within
 * the tolerance. Signatures are compared in constant time.
 */
import {
  type HookQuestion,
  verifyWebhook as verifySignature,
  type WebhookEvent,
  WebhookError,
  type WebhookToVerify,
} from '@chorus/protocol'

export type SignedRequest = WebhookToVerify

interface Received {
  /** Id of the event, the same for every delivery attempt. Store it to recognise repetitions. */
  readonly id: string
  /** Time of the attempt. */
  readonly timestamp: Date
}

export interface ReceivedWebhook extends Received {
  /** The event. A later version may have types that this one does not know: skip them. */
  readonly event: WebhookEvent
}

export interface ReceivedHook extends Received {
  /** May this message be stored? Answer with status 200 and a `HookAnswer` as JSON. */
  readonly question: HookQuestion
}

/** Resolves to the event of a webhook. Rejects with `WebhookError` if it must not be trusted. */
export async function verifyWebhook(request: SignedRequest): Promise<ReceivedWebhook> {
  const { id, timestamp, content } = await verify(request)
  return { id, timestamp, event: content as WebhookEvent }
}

/** Resolves to the question of the pre-send hook. Rejects with `WebhookError`, as for webhooks. */
export async function verifyHook(request: SignedRequest): Promise<ReceivedHook> {
  const { id, timestamp, content } = await verify(request)
  return { id, timestamp, question: content as HookQuestion }
}

async function verify(request: SignedRequest): Promise<Received & { readonly content: unknown }> {
  const { body } = request
  // A caller in JavaScript easily passes the body that a framework has parsed.
  if (typeof (body as unknown) !== 'string' && !(body instanceof Uint8Array)) {
    throw new TypeError(
      "unable to verify request; body must be the bytes as received: with Express, use express.raw({ type: 'application/json' })",
    )
  }
  const verified = await verifySignature(request)
  const text = typeof body === 'string' ? body : new TextDecoder().decode(body)
  try {
    return { ...verified, content: JSON.parse(text) as unknown }
  } catch {
    throw new WebhookError('malformed', 'its body is not JSON')
  }
}
