/**
 * Server-Sent Events: sends the same events as over Socket.IO, on an HTTP response that never ends
 * (rule SSE1). `curl -N` is a complete client.
 *
 * The field `id:` of an event is a cursor. Only `ready` and `checkpoint` have it, so a cursor is
 * sent only after all changes that it covers. The response headers are sent with the first event,
 * once the stream is subscribed. From then on the stream contains every change. A comment every 15
 * s keeps proxies from closing the stream.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ChorusError, limits } from '@chorus/protocol'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Authenticator, Identity } from '../auth/authenticator.ts'
import { readDevice } from '../auth/bearer.ts'
import { readUserAgent } from '../auth/user-agent.ts'
import type { Parts } from '../commands/parts.ts'
import { Answer, type Frame, type Outgoing } from '../frames/frame.ts'
import type { Transport } from '../delivery/outbound.ts'
import type { ConnectionGate } from '../connections/connection-gate.ts'
import { limitKeyOf } from '../support/address.ts'
import type { VerifiedToken } from '../tokens/token-cache.ts'
import { signInFirst } from './callers.ts'

export interface EventStreamOptions {
  readonly authenticator: Authenticator
  readonly parts: Pick<Parts, 'limits' | 'userTokens' | 'tokenSessions'>
  readonly gate: ConnectionGate
  readonly addressOf: (request: IncomingMessage) => string
}

const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  // `no-transform` keeps nginx from compressing the stream. With gzip, nginx delivered no events at
  // all, and its buffers would hide that a client reads slowly.
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no',
  connection: 'keep-alive',
}

export const heartbeatIntervalMs = 15_000

const defaultRetryMs = 2_000

export function addEventStream(
  app: FastifyInstance,
  { authenticator, parts, gate, addressOf }: EventStreamOptions,
): void {
  const { limits: rates } = parts
  async function beginSession(
    token: VerifiedToken,
    device: string | undefined,
    request: FastifyRequest,
    release: () => void,
  ): Promise<Identity> {
    try {
      return await parts.tokenSessions.open(token, { device, userAgent: readUserAgent(request.headers['user-agent']) })
    } catch (error) {
      release()
      throw error
    }
  }
  // A browser's EventSource never reconnects after a response that is not an event stream. So a
  // browser gets a temporary refusal as a short event stream, and reconnects later. Behind a load
  // balancer, only a rate limit is sent like this. Any other refusal keeps its error status, so
  // that the balancer tries another server. If no server accepts, the balancer itself sends such a
  // short event stream (deploy/).
  const errorHandler = async (error: Error, request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { accept = '' } = request.headers
    if (!(error instanceof ChorusError) || error.retry === 'never' || !/text\/event-stream/i.test(accept)) throw error
    if (error.code !== 'rate-limited' && request.headers['x-forwarded-for'] !== undefined) throw error
    return reply.code(200).headers(streamHeaders).send(refusalText(error))
  }
  const options = { exposeHeadRoute: false, errorHandler }
  app.get<{ Querystring: { cursor?: unknown } }>('/v1/events', options, async (request, reply) => {
    if (gate.refusal !== undefined) throw gate.refusal
    refuseUnknownQuery(request.query)
    const { accept } = request.headers
    if (accept !== undefined && !/text\/event-stream|\*\/\*|text\/\*/i.test(accept)) {
      throw new ChorusError('unsupported', 'unable to open the stream; Accept must allow text/event-stream')
    }
    const address = addressOf(request.raw)
    const device = readDevice(request.headers['chorus-device'])
    rates.takeConnectFrom(address)
    const { bearer } = request
    const token = bearer === undefined ? undefined : await parts.userTokens.check(bearer, limitKeyOf(address))
    const signedIn = token === undefined ? await authenticator.authenticate(request.headers.cookie) : undefined
    const userId = (token ?? signedIn)?.userId
    if (userId === undefined) throw signInFirst(request, 'open the stream')
    rates.takeRequest(userId)
    rates.takeConnect(userId)
    const release = rates.openConnection(address)
    const identity = signedIn ?? (await beginSession(token as VerifiedToken, device, request, release))

    const inherited = reply.getHeaders()
    reply.hijack()
    for (const [name, value] of Object.entries(inherited)) if (value !== undefined) reply.raw.setHeader(name, value)
    const transport = new SseTransport(reply.raw)
    const connection = gate.open(identity, transport, () => {
      transport.stop()
      release()
    })
    reply.raw.on('close', () => connection.lost())
    reply.raw.on('error', () => connection.lost())
    // The client left during the session look-up, so the 'close' event has already fired.
    if (reply.raw.destroyed || reply.raw.closed || request.raw.socket.destroyed) {
      connection.lost()
      return
    }
    gate.bringToPresent(connection, identity, cursorOf(request))
  })
}

/** Returns a complete event stream that refuses: the retry time, the reason, and the end. */
function refusalText({ code, message, retryAfterMs = defaultRetryMs }: ChorusError): string {
  const closing = { code: code === 'rate-limited' ? code : 'unavailable', message, retry: 'later' }
  return `retry: ${retryAfterMs}\nevent: closing\ndata: ${JSON.stringify(closing)}\n\n`
}

/**
 * Refuses all query fields except `cursor`. A credential in an address would end up in logs and
 * Referer headers.
 */
function refuseUnknownQuery(query: object): void {
  for (const name of Object.keys(query)) {
    if (name !== 'cursor') throw new ChorusError('invalid', 'unable to open the stream; the only query field is cursor')
  }
}

/**
 * Returns the client's cursor. The Last-Event-ID header, which a browser sends when it reconnects,
 * is newer than the cursor in the address, so it wins.
 */
function cursorOf(request: FastifyRequest<{ Querystring: { cursor?: unknown } }>): string | undefined {
  const fromHeader = request.headers['last-event-id']
  const cursor = typeof fromHeader === 'string' && fromHeader !== '' ? fromHeader : request.query.cursor
  if (cursor === undefined) return undefined
  // An unreadable cursor is answered with `reset`, like a cursor of another epoch.
  return typeof cursor === 'string' && cursor.length <= limits.cursorMaxChars ? cursor : 'unreadable'
}

function textOf(frame: Frame): string {
  const id = frame.cursor === undefined ? '' : `id: ${frame.cursor}\n`
  // JSON contains no line breaks, so one `data:` line is enough.
  frame.wire.sse ??= `${id}event: ${frame.event}\ndata: ${frame.json}\n\n`
  return frame.wire.sse
}

class SseTransport implements Transport {
  readonly kind = 'sse'
  readonly #response: ServerResponse
  readonly #heartbeat: NodeJS.Timeout

  constructor(response: ServerResponse) {
    this.#response = response
    this.#heartbeat = setInterval(() => {
      if (response.headersSent && response.writableLength === 0) response.write(': heartbeat\n\n')
    }, heartbeatIntervalMs)
    this.#heartbeat.unref()
  }

  write(item: Outgoing): void {
    // An event stream carries no commands, so there are no acknowledgements to send.
    if (item instanceof Answer || this.#response.writableEnded) return
    // The headers are sent with the first event, once the stream is subscribed, and not earlier
    // (SSE1).
    if (!this.#response.headersSent) this.#response.writeHead(200, streamHeaders)
    this.#response.write(textOf(item))
  }

  bufferedBytes(): number {
    return this.#response.writableLength
  }

  progress(): number {
    const { socket } = this.#response
    return socket === null ? 0 : socket.bytesWritten - socket.writableLength
  }

  onDrain(listener: () => void): void {
    this.#response.on('drain', listener)
  }

  close(manner: 'again' | 'final' | 'hard'): void {
    this.stop()
    if (manner === 'hard') this.#response.destroy()
    else this.#response.end()
  }

  stop(): void {
    clearInterval(this.#heartbeat)
  }
}
