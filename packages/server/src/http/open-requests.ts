/**
 * The bound on what one client has open over HTTP (rule SLOW1): requests that are being answered, and responses that it
 * asked for and does not read. Both stay in memory until the client takes them or the socket has been silent for a minute.
 */
import { ChorusError } from '@chorus/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'

export const openRequestBounds = {
  /** Requests of one user (without a session: of one address) that are not through. */
  clientMaxRequests: 500,
  /** Unread bytes of the responses of one user. */
  clientMaxBytes: 4_194_304,
  /** Unread bytes of all responses. */
  serverMaxBytes: 50_331_648,
} as const

interface OpenRequest {
  unreadBytes(): number
}

export class OpenRequests {
  readonly #byClient = new Map<string, Set<OpenRequest>>()

  /** Admits one request of this client. Throws when it has too many open; call what is returned when it is through. */
  admit(client: string, request: OpenRequest): () => void {
    const open = this.#byClient.get(client) ?? new Set()
    if (open.size >= openRequestBounds.clientMaxRequests)
      throw new ChorusError('rate-limited', 'unable to answer; too many requests are open at a time', {
        retryAfterMs: 1_000,
      })
    open.add(request)
    this.#byClient.set(client, open)
    return () => {
      open.delete(request)
      if (open.size === 0) this.#byClient.delete(client)
    }
  }

  /** Throws when a response of so many bytes may not wait for this client. */
  admitResponse(client: string, bytes: number): void {
    if (unreadBytesOf(this.#byClient.get(client)) + bytes > openRequestBounds.clientMaxBytes)
      throw new ChorusError('rate-limited', 'unable to answer; the responses before this one are not read', {
        retryAfterMs: 1_000,
      })
    let total = bytes
    for (const open of this.#byClient.values()) total += unreadBytesOf(open)
    if (total > openRequestBounds.serverMaxBytes)
      throw new ChorusError('unavailable', 'unable to answer; too many responses are not read', { retryAfterMs: 1_000 })
  }
}

function unreadBytesOf(open: ReadonlySet<OpenRequest> | undefined): number {
  let bytes = 0
  for (const request of open ?? []) bytes += request.unreadBytes()
  return bytes
}

/** Smaller responses are not looked at: a client's open requests bound them. */
const lookedAtMinBytes = 8_192

const clients = new WeakMap<FastifyRequest, string>()

/** Counts this request until its response is through or its socket is gone. */
export function countRequest(open: OpenRequests, client: string, request: FastifyRequest, raw: CountedResponse): void {
  const release = open.admit(client, { unreadBytes: () => (raw.writableEnded ? raw.writableLength : 0) })
  clients.set(request, client)
  raw.once('close', release)
}

interface CountedResponse {
  readonly writableEnded: boolean
  readonly writableLength: number
  once(event: 'close', listener: () => void): unknown
}

/**
 * Looks at every large response before it is handed to its socket. Only at those of reads: what a command has changed is
 * said in any case (rule ACK2), and is small.
 */
export function boundResponses(app: FastifyInstance, open: OpenRequests): void {
  app.addHook('onSend', async (request, _reply, payload) => {
    const client = clients.get(request)
    const bytes = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload.length : 0
    if (client !== undefined && request.method === 'GET' && bytes >= lookedAtMinBytes) open.admitResponse(client, bytes)
    return payload
  })
}
