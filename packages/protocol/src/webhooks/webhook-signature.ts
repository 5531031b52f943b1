/**
 * Signs and verifies webhooks as Standard Webhooks specifies: an HMAC-SHA256 over
 * `id.timestamp.body` with a secret `whsec_<base64>`. The headers are `webhook-id`,
 * `webhook-timestamp` (seconds) and `webhook-signature` (`v1,<base64>`; several separated by spaces
 * during a secret rotation).
 *
 * Uses only Web Crypto, which compares signatures in constant time and exists in Node, Deno, Bun
 * and edge runtimes.
 */

export const webhookLimits = {
  /**
   * Maximum difference between the webhook's timestamp and now; beyond it the webhook is refused.
   */
  toleranceMs: 5 * 60_000,
  /** Maximum number of signatures that are checked. */
  signaturesMax: 8,
  /** Minimum (`secretMinBytes`) and maximum (`secretMaxBytes`) length of a secret. */
  secretMinBytes: 24,
  secretMaxBytes: 64,
} as const

export interface SignedHeaders {
  readonly 'webhook-id': string
  readonly 'webhook-timestamp': string
  readonly 'webhook-signature': string
}

export interface WebhookToSign {
  readonly id: string
  readonly timestamp: Date
  /** Body of the webhook request, exactly as it is sent. */
  readonly body: string
  readonly secrets: readonly string[]
}

/** Returns the signature headers for the body of a webhook request. */
export async function signWebhook({ id, timestamp, body, secrets }: WebhookToSign): Promise<SignedHeaders> {
  const seconds = String(Math.floor(timestamp.getTime() / 1_000))
  const signatures: string[] = []
  for (const secret of secrets) {
    const key = await importKey(secret, 'sign')
    const signature = await crypto.subtle.sign('HMAC', key, toBytes(`${id}.${seconds}.${body}`))
    signatures.push(`v1,${toBase64(new Uint8Array(signature))}`)
  }
  return { 'webhook-id': id, 'webhook-timestamp': seconds, 'webhook-signature': signatures.join(' ') }
}

/** Reason why a webhook was refused. */
export type WebhookFault = 'malformed' | 'stale' | 'bad-signature' | 'replayed'

export class WebhookError extends Error {
  readonly fault: WebhookFault

  constructor(fault: WebhookFault, message: string) {
    super(`unable to accept webhook; ${message}`)
    this.name = 'WebhookError'
    this.fault = fault
  }
}

type HeaderSource =
  | { get(name: string): string | null }
  | { readonly [name: string]: string | readonly string[] | undefined }

export interface WebhookToVerify {
  /** Headers of the request: a `Headers` object, or Node's `request.headers`. */
  readonly headers: HeaderSource
  /** Body exactly as received. Parsing and serializing it again changes its bytes. */
  readonly body: string | Uint8Array
  /** The secret, or both secrets during a rotation. */
  readonly secrets: string | readonly string[]
  /**
   * Returns whether a webhook with this id was accepted before. The application should remember ids
   * for at least `toleranceMs`, better for days.
   */
  readonly isKnown?: (id: string) => boolean | Promise<boolean>
  /**
   * Maximum difference between the webhook's timestamp and now. Default: `toleranceMs` of the
   * bounds.
   */
  readonly toleranceMs?: number
  /** Current time. Default: the clock of this machine. */
  readonly now?: Date
}

export interface VerifiedWebhook {
  /** Id of the event, the same for every delivery attempt. */
  readonly id: string
  readonly timestamp: Date
}

/**
 * Resolves if one of the secrets signed the webhook, its timestamp is current, and its id is new.
 * Rejects with {@link WebhookError}.
 */
export async function verifyWebhook({
  headers,
  body,
  secrets,
  isKnown,
  toleranceMs = webhookLimits.toleranceMs,
  now,
}: WebhookToVerify): Promise<VerifiedWebhook> {
  const id = headerOf(headers, 'webhook-id')
  const seconds = headerOf(headers, 'webhook-timestamp')
  const signatures = headerOf(headers, 'webhook-signature')
  if (id === '' || id.length > 256 || !/^\d{1,12}$/.test(seconds) || signatures === '')
    throw new WebhookError('malformed', 'its headers are missing or cannot be read')
  const timestamp = new Date(Number(seconds) * 1_000)
  if (Math.abs((now ?? new Date()).getTime() - timestamp.getTime()) > toleranceMs)
    throw new WebhookError('stale', `its timestamp is more than ${toleranceMs / 1_000} s away from now`)

  const signed = join(toBytes(`${id}.${seconds}.`), typeof body === 'string' ? toBytes(body) : body)
  const candidates = signatures.split(' ', webhookLimits.signaturesMax).flatMap((entry) => {
    const bytes = entry.startsWith('v1,') ? fromBase64(entry.slice(3)) : undefined
    return bytes === undefined ? [] : [bytes]
  })
  let isSigned = false
  for (const secret of typeof secrets === 'string' ? [secrets] : secrets) {
    const key = await importKey(secret, 'verify')
    for (const candidate of candidates) if (await crypto.subtle.verify('HMAC', key, candidate, signed)) isSigned = true
  }
  if (!isSigned) throw new WebhookError('bad-signature', 'its signature matches none of the secrets')
  if ((await isKnown?.(id)) === true) throw new WebhookError('replayed', 'its id was accepted already')
  return { id, timestamp }
}

function headerOf(headers: HeaderSource, name: string): string {
  if (typeof headers.get === 'function') return (headers as { get(name: string): string | null }).get(name) ?? ''
  const value = (headers as { readonly [name: string]: string | readonly string[] | undefined })[name]
  return typeof value === 'string' ? value : ''
}

/** Returns whether this text can sign webhooks: `whsec_` and 24 to 64 bytes in base64. */
export function isWebhookSecret(text: string): boolean {
  return secretBytes(text) !== undefined
}

function secretBytes(secret: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = secret.startsWith('whsec_') ? fromBase64(secret.slice('whsec_'.length)) : undefined
  const length = bytes?.length ?? 0
  return length < webhookLimits.secretMinBytes || length > webhookLimits.secretMaxBytes ? undefined : bytes
}

async function importKey(secret: string, use: 'sign' | 'verify'): Promise<CryptoKey> {
  const bytes = secretBytes(secret)
  if (bytes === undefined)
    throw new TypeError('unable to use the secret of a webhook; expected whsec_ and 24 to 64 bytes in base64')
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, [use])
}

function toBytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}

function join(head: Uint8Array, tail: Uint8Array): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(head.length + tail.length)
  joined.set(head)
  joined.set(tail, head.length)
  return joined
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  } catch {
    return undefined
  }
}
