/**
 * Starts Socket.IO for stock clients and the clients of Chorus: checks the origin and the session
 * of a client, then opens a connection. Socket.IO only provides connections and packets. The feed
 * of each conversation decides which connections receive its changes. No Socket.IO adapter is used
 * between servers.
 */
import { type IncomingMessage, type Server as HttpServer, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { ChorusError, limits } from '@chorus/protocol'
import { Server, type Socket } from 'socket.io'
import { Encoder } from 'socket.io-parser'
import type { Authenticator, Identity } from '../auth/authenticator.ts'
import { readDevice } from '../auth/bearer.ts'
import { allowedHeaders, decideOrigin, type OriginPolicy } from '../auth/origin.ts'
import { readUserAgent } from '../auth/user-agent.ts'
import type { CommandHandlers } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import { endSocket } from '../support/end-socket.ts'
import { problemHeaders } from '../support/problem-headers.ts'
import { limitKeyOf } from '../support/address.ts'
import type { ConnectionGate } from '../connections/connection-gate.ts'
import { createDispatch } from './dispatch.ts'
import { ignoreForeignUpgrades } from './ignored-upgrades.ts'
import { SocketCommands } from './socket-commands.ts'
import { SocketIoTransport } from './socket-io-transport.ts'
import { StrictDecoder } from './strict-decoder.ts'

export interface SocketServerOptions {
  readonly httpServer: HttpServer
  readonly parts: Parts
  readonly handlers: CommandHandlers
  readonly authenticator: Authenticator
  readonly originPolicy: OriginPolicy
  readonly gate: ConnectionGate
  readonly addressOf: (request: IncomingMessage) => string
}

const socketPath = '/socket.io'

const socketTimings = {
  pingIntervalMs: 10_000,
  pingTimeoutMs: 5_000,
  /** Maximum time from the opening of the transport to the client's CONNECT packet. */
  connectTimeoutMs: 5_000,
} as const

export function startSocketServer(options: SocketServerOptions): Server {
  const { httpServer, parts, gate } = options
  const server = new Server({
    path: socketPath,
    serveClient: false,
    // ignoreForeignUpgrades handles unsupported upgrades. Engine.IO would close them after a
    // second.
    destroyUpgrade: false,
    transports: ['polling', 'websocket'],
    allowEIO3: false,
    maxHttpBufferSize: limits.requestMaxBytes,
    pingInterval: socketTimings.pingIntervalMs,
    pingTimeout: socketTimings.pingTimeoutMs,
    connectTimeout: socketTimings.connectTimeoutMs,
    perMessageDeflate: false,
    parser: { Encoder, Decoder: StrictDecoder },
    cleanupEmptyChildNamespaces: true,
    allowRequest: (request, answer) => {
      // The origin is checked first, because browsers send cookies even with a WebSocket that a
      // foreign page opens (CSWSH). A poll may lack an Origin header, because browsers add none to
      // a GET request of a page to its own server. Browsers add an Origin header to every upgrade.
      const isPoll = request.method === 'GET' && request.headers.upgrade === undefined
      const decision = decideOrigin(request.headers, isPoll ? 'read' : 'change', options.originPolicy)
      if (!decision.allowed) parts.metrics.originRefusals.inc()
      answer(decision.allowed ? null : 'unable to connect; its origin is not allowed', decision.allowed)
    },
  })
  const dispatch = createDispatch(options.handlers)

  const places = new WeakMap<object, Place>()
  // No event is sent to a Socket.IO room, and the room that Socket.IO creates for each socket would
  // cost half a kilobyte.
  server.of('/').adapter.addAll = () => undefined
  server.use((socket, next) => {
    void admit(options, socket, places.get(socket.conn)).then(
      () => next(),
      (error: unknown) => next(toHandshakeError(parts, error)),
    )
  })

  server.on('connection', (socket) => {
    const { identity } = socket.data as Admitted
    const { cursor } = socket.handshake.auth as { readonly cursor?: unknown }
    const transport = new SocketIoTransport(socket)
    const connection = gate.open(identity, transport)
    const address = options.addressOf(socket.request)
    const commands = new SocketCommands({ parts, connection, address }, dispatch)
    transport.onPacket(commands)
    forgetHandshake(socket)
    listen(socket, commands)
    gate.bringToPresent(connection, identity, typeof cursor === 'string' ? cursor : undefined)
  })
  refuseForeignUpgrades(httpServer, options)
  forgetAnswers(httpServer, () => void server.attach(httpServer))
  refuseNewcomers(server, httpServer, options)
  ignoreForeignUpgrades(httpServer, `${socketPath}/`)
  // A connection counts against the limit of its address from its start until it closes, because a
  // client that never sends CONNECT holds a connection open, too.
  server.engine.on('connection', (wire: EngineSocket) => {
    const place = takePlace(options, wire.request)
    places.set(wire, place)
    if (place.kind === 'taken') wire.on('close', place.release)
  })
  allowOrigins(server, options.originPolicy)
  return server
}

/**
 * Sets the handlers for events that Socket.IO emits. All sockets share one listener, because one
 * per socket would cost memory.
 */
function listen(socket: Socket, commands: SocketCommands): void {
  Object.assign(socket, { data: commands })
  socket.on('disconnect', onDisconnect)
}

function onDisconnect(this: Socket, reason: string): void {
  ;(this.data as SocketCommands).connection.lost()
  // The client has left its only namespace. The open connection would occupy a place and send
  // heartbeats for nothing, so it is closed.
  if (reason === 'client namespace disconnect') this.conn.close()
}

const handshakeOver = { headers: {}, query: {}, auth: {} }
const noAcknowledgements: ReadonlyMap<number, unknown> = new Map()

/**
 * Frees memory that only the handshake needed: the request with its headers and parser, the user's
 * identity, and the map of acknowledgements that the server never requests. Otherwise it would
 * occupy four kilobytes until the connection closes ({@link forgetAnswers} frees the rest).
 */
function forgetHandshake(socket: Socket): void {
  const { conn, client } = socket as unknown as { readonly conn: OpenedWire; readonly client: SocketIoClient }
  const { name, socket: ws } = conn.transport
  if (name === 'websocket') conn.request = undefined
  Object.assign(socket, { handshake: handshakeOver, acks: noAcknowledgements })
  // The array is copied, because an array that grew by push reserves memory for seventeen entries.
  conn.cleanupFn = [...conn.cleanupFn]
  const { _callbacks: listeners } = client.decoder
  if (listeners?.$decoded !== undefined) listeners.$decoded = [...listeners.$decoded]
  // Engine.IO needed this error listener only until the transport existed.
  for (const listener of ws?.listeners('error') ?? [])
    if (listener.name === 'onUpgradeError') ws?.removeListener('error', listener)
}

/** Internals of Engine.IO and Socket.IO that their types leave out. */
interface OpenedWire {
  request: unknown
  cleanupFn: readonly unknown[]
  readonly transport: { readonly name: string; readonly socket?: WebSocketEvents }
}

interface SocketIoClient {
  readonly decoder: { readonly _callbacks?: { $decoded?: readonly unknown[] } }
}

type Listener = () => void

interface WebSocketEvents {
  listeners(event: 'error'): readonly Listener[]
  removeListener(event: 'error', listener: Listener): void
}

/**
 * Removes the `close` listeners that Engine.IO adds to the socket when it handles an upgrade. They
 * only serve a log that Chorus does not use, and hold the request in memory until the connection
 * closes. Engine.IO adds them during the `upgrade` event. The listeners of the WebSocket itself are
 * added in a later turn of the event loop, because of the middleware in {@link refuseNewcomers},
 * and stay.
 */
function forgetAnswers(httpServer: HttpServer, attach: () => void): void {
  let before: readonly unknown[] = []
  httpServer.prependListener('upgrade', (_request: IncomingMessage, wire: Duplex) => {
    before = wire.rawListeners('close')
  })
  attach()
  httpServer.on('upgrade', (_request: IncomingMessage, wire: Duplex) => {
    for (const listener of wire.rawListeners('close'))
      if (!before.includes(listener)) wire.removeListener('close', listener as () => void)
  })
}

interface Admitted {
  identity: Identity
}

interface EngineSocket {
  readonly request: IncomingMessage
  on(event: 'close', listener: () => void): void
}

/** Place of one connection in the connection limit of its address. */
type Place =
  | { readonly kind: 'taken'; readonly release: () => void; isUsed: boolean }
  | { readonly kind: 'refused'; readonly error: ChorusError }

function takePlace({ parts, addressOf }: SocketServerOptions, request: IncomingMessage): Place {
  const address = addressOf(request)
  try {
    parts.limits.takeConnectFrom(address)
    return { kind: 'taken', release: parts.limits.openConnection(address), isUsed: false }
  } catch (error) {
    return { kind: 'refused', error: toChorusError(error) }
  }
}

/** Authenticates a client and checks its limits. Throws an error of the protocol. */
async function admit(options: SocketServerOptions, socket: Socket, place: Place | undefined): Promise<void> {
  const { gate } = options
  if (gate.refusal !== undefined) throw gate.refusal
  if (place === undefined) throw new Error('a connection arrived without a reserved place')
  if (place.kind === 'refused') throw place.error
  if (place.isUsed) throw new ChorusError('invalid', 'unable to connect; this transport has a connection already')
  // The place is marked as used before the session look-up. So a hundred CONNECT packets of one
  // connection in one turn of the event loop cost only one look-up.
  place.isUsed = true
  const identity = await identify(options, socket)
  const admitted: Admitted = { identity }
  socket.data = admitted
}

/**
 * Returns the identity of the client: by its user token, or by its cookie. A page of EMBED_ORIGINS
 * cannot use cookies.
 */
async function identify(
  { authenticator, parts, originPolicy, addressOf }: SocketServerOptions,
  { handshake, request }: Socket,
): Promise<Identity> {
  const { token, device } = handshake.auth as { readonly token?: unknown; readonly device?: unknown }
  if (token === undefined) {
    const decision = decideOrigin(request.headers, 'read', originPolicy)
    const isEmbedded = decision.allowed && decision.from === 'embed'
    const identity = isEmbedded ? undefined : await authenticator.authenticate(request.headers.cookie)
    if (identity !== undefined) {
      parts.limits.takeConnect(identity.userId)
      return identity
    }
    const reason = isEmbedded ? 'send a user token in auth' : 'sign in first'
    throw new ChorusError('unauthenticated', `unable to connect; ${reason}`)
  }
  if (typeof token !== 'string') throw new ChorusError('invalid', 'unable to connect; the token is not text')
  const known = readDevice(device)
  const verified = await parts.userTokens.check(token, limitKeyOf(addressOf(request)))
  parts.limits.takeConnect(verified.userId)
  const userAgent = readUserAgent(request.headers['user-agent'])
  return parts.tokenSessions.open(verified, { device: known, userAgent })
}

function toHandshakeError(parts: Parts, error: unknown): Error {
  const known = toChorusError(error)
  if (known.cause !== undefined) parts.logger.warn({ err: known.cause }, known.message)
  // Socket.IO passes the field `data` to the client's `connect_error` event.
  return Object.assign(new Error(known.message), { data: known.toBody() })
}

function toChorusError(error: unknown): ChorusError {
  return error instanceof ChorusError
    ? error
    : new ChorusError('unavailable', 'unable to connect; the session cannot be checked right now', {
        retryAfterMs: 1_000,
        cause: error,
      })
}

/**
 * Refuses new clients with a plain HTTP response. While this server accepts no connections, the
 * response is 503: a load balancer then tries another server, but would take an error inside an
 * open socket for a success. An address that keeps connecting after refusals gets 429, before
 * Engine.IO creates a session for it (rule LIM3).
 */
function refuseNewcomers(server: Server, httpServer: HttpServer, options: SocketServerOptions): void {
  const { gate, parts, addressOf } = options
  const { clients } = server.engine as unknown as { readonly clients: Readonly<Record<string, unknown>> }
  // For an upgrade, both listeners below ask for the refusal, and must get the same answer.
  const asked = new WeakMap<IncomingMessage, ChorusError | 'welcome'>()
  const refusalOf = (request: IncomingMessage): ChorusError | undefined => {
    const sid = /[?&]sid=([\w-]+)/.exec(request.url ?? '')?.[1]
    if (sid !== undefined && clients[sid] !== undefined) return undefined
    const answer = asked.get(request) ?? gate.refusal ?? parts.limits.refusalOfWire(addressOf(request)) ?? 'welcome'
    asked.set(request, answer)
    return answer === 'welcome' ? undefined : answer
  }
  httpServer.prependListener('upgrade', (request: IncomingMessage, wire: Duplex) => {
    const refusal = refusalOf(request)
    if (refusal === undefined) return
    endUpgrade(wire, refusal)
  })
  server.engine.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
    const refusal = refusalOf(request)
    if (refusal === undefined) {
      next()
      return
    }
    // The listener above has already answered requests for an upgrade.
    if (request.headers.upgrade !== undefined) return
    const { body, headers } = rawProblem(refusal)
    response.writeHead(refusal.status, headers).end(body)
  })
}

/**
 * Returns body and headers of an HTTP error response that is written without Node's HTTP server.
 */
function rawProblem(error: ChorusError): { readonly body: string; readonly headers: Record<string, string | number> } {
  const body = JSON.stringify(error.toProblem())
  return { body, headers: { ...problemHeaders(error), 'content-length': Buffer.byteLength(body), connection: 'close' } }
}

/** Refuses an upgrade with a normal HTTP error response. */
function endUpgrade(wire: Duplex, error: ChorusError): void {
  const { body, headers } = rawProblem(error)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  endSocket(wire, `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}\r\n${lines.join('')}\r\n${body}`)
}

/**
 * Refuses upgrades from a foreign Origin with 403, as the other transports do. Engine.IO would
 * answer 400.
 */
function refuseForeignUpgrades(httpServer: HttpServer, { originPolicy }: SocketServerOptions): void {
  httpServer.prependListener('upgrade', (request: IncomingMessage, wire: Duplex) => {
    if (decideOrigin(request.headers, 'change', originPolicy).allowed) return
    endUpgrade(wire, new ChorusError('forbidden', 'unable to connect; its origin is not allowed'))
  })
}

/**
 * Sets CORS headers so that only pages of ALLOWED_ORIGINS, with cookies, and of EMBED_ORIGINS,
 * without, may poll from another origin.
 */
function allowOrigins(server: Server, policy: OriginPolicy): void {
  const setHeaders = (headers: Record<string, string>, request: IncomingMessage): void => {
    const { origin } = request.headers
    const decision = decideOrigin(request.headers, 'read', policy)
    if (origin === undefined || !decision.allowed || decision.from === 'own') return
    headers['access-control-allow-origin'] = origin
    if (decision.from === 'allowed') headers['access-control-allow-credentials'] = 'true'
    headers.vary = 'Origin'
  }
  server.engine.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
    const decision = decideOrigin(request.headers, 'read', policy)
    // Clients that set headers of their own ask first. Engine.IO would refuse the method.
    if (request.method !== 'OPTIONS' || !decision.allowed || decision.from === 'own') {
      next()
      return
    }
    const headers: Record<string, string> = {
      'access-control-allow-methods': 'GET, POST',
      'access-control-allow-headers': allowedHeaders[decision.from],
      'access-control-max-age': '600',
    }
    setHeaders(headers, request)
    response.writeHead(204, headers).end()
  })
  server.engine.on('initial_headers', setHeaders)
  server.engine.on('headers', setHeaders)
}
