/**
 * HTTP: every command that has a route, the operators' endpoints and the web application, on one Fastify instance.
 *
 * A request goes: origin (guard.ts) → cookie and session → who asks, how often and how much (open-requests.ts) → body
 * (parse-json.ts) → schema → handler. Each step can end it with a problem of the catalogue. Slow or endless requests meet a
 * bound in bytes or time, and so do responses that are not read.
 */
import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { ChorusError, commands, limits } from '@chorus/protocol'
import type { CommandName, RouteDefinition } from '@chorus/protocol'
import { fastify } from 'fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Authenticator } from '../access/authenticator.ts'
import type { Actor, CommandHandler, CommandTable } from '../commands/command.ts'
import { parseInput, verbOf } from '../commands/parse-input.ts'
import type { Parts } from '../commands/parts.ts'
import { takeBudget } from '../commands/weigh-command.ts'
import type { Config } from '../config.ts'
import { findClientAddress, limitKeyOf, parseTrustedProxies } from '../support/address.ts'
import type { Logger } from '../support/logger.ts'
import type { Metrics } from '../support/metrics.ts'
import { compressAnswers } from './compress-answers.ts'
import { addGuard } from './guard.ts'
import { KnownPaths } from './known-paths.ts'
import { boundResponses, countRequest, OpenRequests } from './open-requests.ts'
import { addOpenApi } from './openapi-document.ts'
import { addOperators } from './operators.ts'
import type { Health } from './operators.ts'
import { JsonFault, parseJson } from './parse-json.ts'
import { answerWithProblem, noteBegin, sendProblem, sendWrongMethod } from './problem.ts'
import { createInputReader } from './read-input.ts'
import { addSessions, createCookieJar, userAgentOf } from './sessions.ts'
import { addWebApp, asksForPage, defaultWebFolder } from './web-app.ts'

/** The whole request must have come by then, body included. */
const requestTimeoutMs = 20_000
const headersTimeoutMs = 10_000
const keepAliveTimeoutMs = 65_000
/** A socket on which nothing moves, in either direction; streams send something every 15 s. */
const silenceTimeoutMs = 60_000
const headersMaxBytes = 16_384
const socketsMax = 60_000
/** Body of a request without a session: a handle, a password and a name. */
const strangerBodyMaxBytes = 16_384
/** Longest part of a path: an emoji of 32 code units, percent-encoded. */
const pathPartMaxChars = 512

export interface HttpAppOptions {
  readonly config: Pick<Config, 'publicUrl' | 'allowedOrigins' | 'avatarOrigins' | 'trustedProxies'>
  readonly parts: Parts
  readonly handlers: CommandTable
  readonly authenticator: Authenticator
  readonly logger: Logger
  readonly metrics: Metrics
  readonly health: () => Promise<Health>
  /** Has the server begun to leave? Then it asks for the end of each connection with its answer. */
  readonly isLeaving?: () => boolean
  /** The built web application; without it a page says how to build it. */
  readonly webFolder?: string
  /** Adds further routes (Server-Sent Events). The origin has been checked by then; the session has not. */
  readonly extend?: (app: FastifyInstance) => void
}

/** Who asks when nobody has to be anybody (sign-up, sign-in). */
const nobody: Actor = { userId: '', sessionId: '' }

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
  addGuard(app, config, metrics)
  addMeasurements(app, metrics, logger)

  const trusted = parseTrustedProxies(config.trustedProxies)
  if (trusted === undefined) throw new TypeError('config.trustedProxies has not been checked')
  const addressOf = (request: FastifyRequest): string =>
    findClientAddress(request.socket.remoteAddress, request.headers['x-forwarded-for'], trusted)
  const open = new OpenRequests()
  app.addHook('onRequest', async (request, reply) => {
    const { url } = request.routeOptions
    // Files and what is not there: each file that is not read to its end is an open file of this process.
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
    // A stream lasts as long as its reader, which says nothing about the server.
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

interface RouteOptions extends HttpAppOptions {
  readonly addressOf: (request: FastifyRequest) => string
  readonly open: OpenRequests
}

function addCommandRoutes(app: FastifyInstance, options: RouteOptions): void {
  for (const command of Object.values(commands)) {
    if (command.route !== undefined) addCommandRoute(app, command.name, command.route, options)
  }
}

function addCommandRoute(app: FastifyInstance, name: CommandName, route: RouteDefinition, options: RouteOptions): void {
  const { parts, authenticator, metrics } = options
  const needsSession = commands[name].auth === 'session'
  const handler = options.handlers[name] as CommandHandler<CommandName>
  const readInput = createInputReader(name, route)

  app.route({
    method: route.method,
    url: route.path.replace(/\{(\w+)\}/g, ':$1'),
    ...(!needsSession && { bodyLimit: strangerBodyMaxBytes }),
    // Runs behind the session and before the body is read: strangers and the impatient cost no parsing.
    onRequest: async (request, reply) => {
      const { actor } = request.session
      const client = actor?.userId ?? limitKeyOf(options.addressOf(request))
      if (needsSession || actor !== undefined) countRequest(options.open, client, request, reply.raw)
      if (hasBody(request)) parts.limits.takeBytes(client, bodyBytesOf(request))
      if (!needsSession) return
      if (actor === undefined) throw new ChorusError('unauthenticated', `unable to ${verbOf(name)}; sign in first`)
      takeBudget(parts.limits, name, actor.userId)
    },
    handler: async (request, reply) => {
      const input = parseInput(name, readInput(request))
      if (route.method !== 'GET') noteBegin(request)
      const result = await handler(
        {
          parts,
          actor: request.session.actor ?? nobody,
          cookies: createCookieJar(request, reply, authenticator),
          address: options.addressOf(request),
          userAgent: userAgentOf(request),
        },
        input,
      )
      return sendResult(reply, route, result)
    },
    ...(name === 'send-message' && {
      onResponse: async (_request: FastifyRequest, reply: FastifyReply) =>
        metrics.ackSeconds.observe(reply.elapsedTime / 1_000),
    }),
  })
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || headers['content-length'] !== undefined
}

/** What the body may hold: in chunks it is as large as a body may be. */
function bodyBytesOf({ headers }: FastifyRequest): number {
  const bytes = Number(headers['content-length'] ?? limits.requestMaxBytes)
  return Math.min(Number.isSafeInteger(bytes) ? bytes : limits.requestMaxBytes, limits.requestMaxBytes)
}

/** What was there already is 200, not 201. */
function sendResult(reply: FastifyReply, route: RouteDefinition, result: unknown): FastifyReply {
  if (route.status === 204) return reply.code(204).send()
  const isDuplicate =
    typeof result === 'object' && result !== null && 'duplicate' in result && result.duplicate === true
  return reply.code(route.status === 201 && isDuplicate ? 200 : route.status).send(result)
}

/** Answers what never became a request: bad framing, headers too large or too slow. Then the connection closes. */
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
        ? [408, 'Request Timeout', new ChorusError('invalid', 'unable to answer; the request did not come in time')]
        : [400, 'Bad Request', new ChorusError('invalid', 'unable to answer; the request cannot be read')]
  const body = JSON.stringify({ ...problem.toProblem(), status })
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
