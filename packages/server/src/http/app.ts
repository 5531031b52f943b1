/**
 * The HTTP server: every command with a route, the operators' endpoints and the web application, on
 * one Fastify instance.
 *
 * A request passes these steps: origin (guard.ts) → API key, user token, or cookie and session
 * (key-credentials.ts, callers.ts) → limits on open requests of its key, user or address
 * (open-requests.ts) → body (parse-json.ts) → schema → handler. Each step can end the request with
 * an error of the protocol. Slow or endless requests are limited in bytes and time, and so are
 * responses that clients do not read.
 */
import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { ChorusError, limits } from '@chorus/protocol'
import { fastify } from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Authenticator } from '../auth/authenticator.ts'
import type { CommandHandlers } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import type { Config } from '../config/config.ts'
import { findClientAddress, limitKeyOf, parseTrustedProxies } from '../support/address.ts'
import { endSocket } from '../support/end-socket.ts'
import type { Logger } from '../support/logger.ts'
import type { Metrics } from '../support/metrics.ts'
import { addBearer } from './callers.ts'
import { addCommandRoutes } from './command-routes.ts'
import { compressAnswers } from './compress-answers.ts'
import { addGuard } from './guard.ts'
import { addKeyCredentials } from './key-credentials.ts'
import { KnownPaths } from './known-paths.ts'
import { boundResponses, countRequest, OpenRequests } from './open-requests.ts'
import { addOpenApi } from './openapi-document.ts'
import { addOperators } from './operators.ts'
import type { Health } from './operators.ts'
import { JsonFault, parseJson } from './parse-json.ts'
import { answerWithProblem, sendProblem, sendWrongMethod } from './problem.ts'
import { addSessions } from './sessions.ts'
import { addWebApp, asksForPage, defaultWebFolder } from './web-app.ts'

/** Maximum time until the whole request, including its body, has arrived. */
const requestTimeoutMs = 20_000
const headersTimeoutMs = 10_000
const keepAliveTimeoutMs = 65_000
/**
 * Maximum time without traffic on a socket, in either direction. Streams send something every 15 s.
 */
const silenceTimeoutMs = 60_000
const headersMaxBytes = 16_384
const socketsMax = 60_000
/** Maximum length of a path segment: an external id of three-byte characters, percent-encoded. */
const pathPartMaxChars = 9 * limits.externalIdMaxChars

export interface HttpAppOptions {
  readonly config: Pick<Config, 'publicUrl' | 'allowedOrigins' | 'embedOrigins' | 'avatarOrigins' | 'trustedProxies'>
  readonly parts: Parts
  readonly handlers: CommandHandlers
  readonly authenticator: Authenticator
  readonly logger: Logger
  readonly metrics: Metrics
  readonly health: () => Promise<Health>
  /**
   * Returns true once the server is stopping. Its responses then ask clients to close their
   * connections.
   */
  readonly isLeaving?: () => boolean
  /** Folder of the built web application. Without a build, a page explains how to build it. */
  readonly webFolder?: string
  /**
   * Adds further routes (Server-Sent Events). Their requests have passed the origin check, but no
   * session check.
   */
  readonly extend?: (app: FastifyInstance) => void
}

export async function buildHttpApp(options: HttpAppOptions): Promise<FastifyInstance> {
  const { config, authenticator, logger, metrics } = options
  const app = fastify({
    logger: false,
    genReqId: () => randomUUID(),
    bodyLimit: limits.requestMaxBytes,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    connectionTimeout: silenceTimeoutMs,
    http: { headersTimeout: headersTimeoutMs, maxHeaderSize: headersMaxBytes, connectionsCheckingInterval: 2_000 },
    routerOptions: { maxParamLength: pathPartMaxChars },
    forceCloseConnections: 'idle',
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => void answerWithProblem(error, request, reply, logger),
  })
  app.server.maxConnections = socketsMax

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) =>
    readBody(request, body),
  )
  app.setErrorHandler((error, request, reply) => answerWithProblem(error, request, reply, logger))
  app.addHook('onRequest', async (_request, reply) => {
    if (options.isLeaving?.() === true) reply.header('connection', 'close')
  })
  const paths = new KnownPaths()
  paths.watch(app)
  addBearer(app)
  addGuard(app, config, metrics)
  addMeasurements(app, metrics, logger)

  const trusted = parseTrustedProxies(config.trustedProxies)
  if (trusted === undefined) throw new TypeError('config.trustedProxies was not validated')
  const addressOf = (request: FastifyRequest): string =>
    findClientAddress(request.socket.remoteAddress, request.headers['x-forwarded-for'], trusted)
  const open = new OpenRequests()
  app.addHook('onRequest', async (request, reply) => {
    const { url } = request.routeOptions
    // Requests for files and unknown addresses are counted, too: a response that a client does not
    // read to its end stays open in this process.
    if (url === undefined || url === '/' || url === '/*')
      countRequest(open, `files:${limitKeyOf(addressOf(request))}`, request, reply.raw)
  })
  addOperators(app, { health: options.health })
  addOpenApi(app, {
    publicUrl: config.publicUrl,
    cookieName: authenticator.cookieName,
    limit: (request) => options.parts.limits.takeRequest(limitKeyOf(addressOf(request))),
  })
  await app.register(async (scope) => {
    addKeyCredentials(scope, options.parts)
    await addSessions(scope, authenticator, options.parts, config.publicUrl)
    compressAnswers(scope)
    boundResponses(scope, open)
    addCommandRoutes(scope, { ...options, addressOf, open })
  })
  options.extend?.(app)
  const web = await addWebApp(app, options.webFolder ?? defaultWebFolder)
  app.setNotFoundHandler((request, reply) => {
    const allow = paths.allowOf(request.url)
    if (allow !== undefined && request.method === 'OPTIONS') return reply.code(204).header('allow', allow).send()
    if (allow !== undefined) return sendWrongMethod(reply, allow)
    if (asksForPage(request)) return web.sendPage(reply)
    return sendProblem(reply, new ChorusError('not-found', 'unable to answer; there is nothing at this address'))
  })
  return app
}

function readBody(request: FastifyRequest, body: Buffer): unknown {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = request.headers
  const charset = /charset\s*=\s*"?([^\s;"]+)/i.exec(type)?.[1] ?? 'utf-8'
  if (!/^utf-?8$/i.test(charset) || encoding.toLowerCase() !== 'identity') {
    throw new ChorusError('unsupported', 'unable to read the body; it must be plain application/json in UTF-8')
  }
  try {
    return parseJson(body)
  } catch (error) {
    if (error instanceof JsonFault) throw new ChorusError('invalid', `unable to read the body; it ${error.message}`)
    throw error
  }
}

function addMeasurements(app: FastifyInstance, metrics: Metrics, logger: Logger): void {
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none'
    metrics.httpRequests.inc({ method: request.method, route, status: String(reply.statusCode) })
    // An event stream lasts as long as its client wants, so its duration is not measured.
    const isStream = String(reply.raw.getHeader('content-type')).startsWith('text/event-stream')
    if (!isStream) metrics.httpRequestSeconds.observe({ route }, reply.elapsedTime / 1_000)
    logger.debug(
      {
        request: request.id,
        method: request.method,
        route,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      'answered',
    )
  })
}

/**
 * Answers bytes that are no valid HTTP request (bad framing, or headers that are too large or too
 * slow), and closes the socket.
 */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [status, reason, problem] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [
          431,
          'Request Header Fields Too Large',
          new ChorusError('too-large', 'unable to answer; the headers are too large'),
        ]
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'Request Timeout', new ChorusError('invalid', 'unable to answer; the request did not arrive in time')]
        : [400, 'Bad Request', new ChorusError('invalid', 'unable to answer; the request cannot be read')]
  const body = JSON.stringify({ ...problem.toProblem(), status })
  endSocket(
    socket,
    `HTTP/1.1 ${status} ${reason}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
