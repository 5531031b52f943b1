/**
 * Limits how much memory one client can occupy over HTTP (rule SLOW1): by requests in progress, and
 * by responses that it does not read. An unread response stays in memory until the client reads it,
 * or until its socket had no traffic for a minute.
 */
import { ChorusError } from '@chorus/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'

export const openRequestLimits = {
  /** Maximum number of open requests per user. Requests without a session count per IP address. */
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
   * Counts one open request of this client. Throws if the client has too many. The caller must call
   * the returned function when the request is finished.
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
   * Throws if a response of this size would exceed the limit of unread bytes of the client or of
   * the server.
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
 * Minimum size of a response that is checked. Smaller responses are limited by the number of open
 * requests.
 */
const lookedAtMinBytes = 8_192

const clients = new WeakMap<FastifyRequest, string>()

/** Counts this request as open until its response is sent or its socket is closed. */
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
 * Checks every large response before it is written to its socket. Only responses to reads are
 * checked. The response to a change is small, and must be sent in any case (rule ACK2).
 */
export function boundResponses(app: FastifyInstance, open: OpenRequests): void {
  app.addHook('onSend', async (request, _reply, payload) => {
    const client = clients.get(request)
    const bytes = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload.length : 0
    if (client !== undefined && request.method === 'GET' && bytes >= lookedAtMinBytes) open.admitResponse(client, bytes)
    return payload
  })
}
