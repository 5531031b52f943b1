/**
 * Limits what one client has open over HTTP (rule SLOW1): requests in progress, and responses that
 * it does not read. Both stay in memory until the client takes them or its socket has been silent
 * for a minute.
 */
import { ChorusError } from '@chorus/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'

export const openRequestLimits = {
  /** Maximum number of open requests per user, or per address without a session. */
  clientMaxRequests: 500,
  /** Maximum number of unread response bytes per user. */
  clientMaxBytes: 4_194_304,
  /** Maximum number of unread response bytes of all clients. */
  serverMaxBytes: 50_331_648,
} as const

interface OpenRequest {
  unreadBytes(): number
}

export class OpenRequests {
  readonly #byClient = new Map<string, Set<OpenRequest>>()

  /**
   * Admits one request of this client. Throws if the client has too many open. Call the returned
   * function when the request is finished.
   */
  admit(client: string, request: OpenRequest): () => void {
    const open = this.#byClient.get(client) ?? new Set()
    if (open.size >= openRequestLimits.clientMaxRequests)
      throw new ChorusError('rate-limited', 'unable to answer; too many requests are open at once', {
        retryAfterMs: 1_000,
      })
    open.add(request)
    this.#byClient.set(client, open)
    return () => {
      open.delete(request)
      if (open.size === 0) this.#byClient.delete(client)
    }
  }

  /**
   * Throws if a response of this size would exceed the unread bytes of the client or of the server.
   */
  admitResponse(client: string, bytes: number): void {
    if (unreadBytesOf(this.#byClient.get(client)) + bytes > openRequestLimits.clientMaxBytes)
      throw new ChorusError('rate-limited', 'unable to answer; earlier responses have not been read yet', {
        retryAfterMs: 1_000,
      })
    let total = bytes
    for (const open of this.#byClient.values()) total += unreadBytesOf(open)
    if (total > openRequestLimits.serverMaxBytes)
      throw new ChorusError('unavailable', 'unable to answer; too many responses have not been read yet', {
        retryAfterMs: 1_000,
      })
  }
}

function unreadBytesOf(open: ReadonlySet<OpenRequest> | undefined): number {
  let bytes = 0
  for (const request of open ?? []) bytes += request.unreadBytes()
  return bytes
}

/**
 * Minimum size of a response that is checked. Smaller ones are bounded by the client's number of
 * open requests.
 */
const lookedAtMinBytes = 8_192

const clients = new WeakMap<FastifyRequest, string>()

/** Counts this request until its response is sent or its socket is closed. */
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
 * Checks every large response before it is written to its socket. Only responses of reads are
 * checked: the result of a change must be sent in any case (rule ACK2), and is small.
 */
export function boundResponses(app: FastifyInstance, open: OpenRequests): void {
  app.addHook('onSend', async (request, _reply, payload) => {
    const client = clients.get(request)
    const bytes = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload.length : 0
    if (client !== undefined && request.method === 'GET' && bytes >= lookedAtMinBytes) open.admitResponse(client, bytes)
    return payload
  })
}
