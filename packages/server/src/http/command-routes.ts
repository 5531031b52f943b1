/**
 * The HTTP routes of all commands. For each request, the server finds the caller (the user of a
 * session or of a token, an API key, or neither) and takes the caller's limits before it reads the body.
 */
import { ChorusError, type CommandAuth, commands, limits } from '@chorus/protocol'
import type { CommandName, RouteDefinition } from '@chorus/protocol'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Authenticator } from '../auth/authenticator.ts'
import type { Actor, CommandContext, CommandHandler, CommandHandlers } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import { parseInput, verbOf } from '../dispatch/parse-input.ts'
import { readUserAgent } from '../auth/user-agent.ts'
import { takeBudget } from '../dispatch/weigh-command.ts'
import { limitKeyOf } from '../support/address.ts'
import type { Metrics } from '../support/metrics.ts'
import { findTokenCaller, signInFirst } from './callers.ts'
import { type HttpAnswer, runOnce } from './idempotency.ts'
import { actorOfKey, requireScope } from './key-credentials.ts'
import { countRequest, type OpenRequests } from './open-requests.ts'
import { noteBegin } from './problem.ts'
import { createInputReader } from './read-input.ts'
import { createCookieJar } from './sessions.ts'

/**
 * Maximum body size of a request without a session. Its largest content is a handle, a password and
 * a name.
 */
const strangerBodyMaxBytes = 16_384

export interface RouteOptions {
  readonly parts: Parts
  readonly handlers: CommandHandlers
  readonly authenticator: Authenticator
  readonly metrics: Metrics
  readonly addressOf: (request: FastifyRequest) => string
  readonly open: OpenRequests
}

/** Placeholder actor for commands that need no session (sign-up, sign-in). */
const nobody: Actor = { userId: '', sessionId: '' }

export function addCommandRoutes(app: FastifyInstance, options: RouteOptions): void {
  for (const command of Object.values(commands)) {
    if (command.route !== undefined) addCommandRoute(app, command.name, command.route, options)
  }
}

function addCommandRoute(app: FastifyInstance, name: CommandName, route: RouteDefinition, options: RouteOptions): void {
  const { parts, metrics } = options
  const auth: CommandAuth = commands[name].auth
  const handler = options.handlers[name] as CommandHandler<CommandName>
  const readInput = createInputReader(name, route)
  const bodyMaxBytes = route.bodyMaxBytes ?? (auth === 'none' ? strangerBodyMaxBytes : limits.requestMaxBytes)

  app.route({
    method: route.method,
    url: route.path.replace(/\{(\w+)\}/g, ':$1'),
    bodyLimit: bodyMaxBytes,
    // Runs after the hooks of keys and sessions and before the body is read, so that a refused
    // request costs no parsing.
    onRequest: async (request, reply) => admit(name, request, reply, { ...options, auth, bodyMaxBytes }),
    handler: async (request, reply) => {
      const input = parseInput(name, readInput(request))
      const context = await contextOf(name, request, reply, options)
      if (route.method !== 'GET') noteBegin(request)
      const run = async (): Promise<HttpAnswer> => toAnswer(route, await handler(context, input))
      const { key: apiKey, actor } = context
      const { status, body } =
        apiKey === undefined ? await run() : await runOnce(parts, request, { apiKey, user: actor.userId }, run)
      void reply.code(status)
      if (body === undefined) return reply.send()
      return typeof body === 'string' ? reply.type('application/json; charset=utf-8').send(body) : reply.send(body)
    },
    ...(name === 'send-message' && {
      onResponse: async (_request: FastifyRequest, reply: FastifyReply) =>
        metrics.ackSeconds.observe(reply.elapsedTime / 1_000),
    }),
  })
}

interface Admission extends RouteOptions {
  readonly auth: CommandAuth
  readonly bodyMaxBytes: number
}

/** Finds the caller and takes their limits. Throws if the caller may not use the command. */
async function admit(
  name: CommandName,
  request: FastifyRequest,
  reply: FastifyReply,
  { parts, authenticator, open, addressOf, auth, bodyMaxBytes }: Admission,
): Promise<void> {
  const { apiKey: key, bearer } = request
  const address = addressOf(request)
  // A command that needs no session ignores a token, as it ignores a cookie.
  const actor =
    key === undefined && bearer !== undefined && auth === 'session'
      ? await findTokenCaller(request, bearer, { parts, authenticator, address })
      : request.session.actor
  request.caller = actor
  const client = key?.id ?? actor?.userId ?? limitKeyOf(address)
  if (auth !== 'none' || actor !== undefined) countRequest(open, client, request, reply.raw)
  if (key !== undefined) parts.limits.takeKeyRequest(key.id)
  if (hasBody(request)) parts.limits.takeBytes(client, bodyBytesOf(request, bodyMaxBytes))
  if (key !== undefined) requireScope(request, name, key)
  else if (auth === 'key') throw new ChorusError('unauthenticated', `unable to ${verbOf(name)}; send an API key`)
  else if (auth === 'session') {
    if (actor === undefined) throw signInFirst(request, verbOf(name))
    takeBudget(parts.limits, name, actor.userId)
  }
}

async function contextOf(
  name: CommandName,
  request: FastifyRequest,
  reply: FastifyReply,
  { parts, authenticator, addressOf }: RouteOptions,
): Promise<CommandContext> {
  const common = { parts, address: addressOf(request), userAgent: readUserAgent(request.headers['user-agent']) }
  const { apiKey: key } = request
  if (key !== undefined) return { ...common, actor: await actorOfKey(request, name, key, parts), key }
  return {
    ...common,
    actor: request.caller ?? nobody,
    ...(!request.ignoresCookies && { cookies: createCookieJar(request, reply, authenticator) }),
  }
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || headers['content-length'] !== undefined
}

/**
 * Returns the size of the body by its `Content-Length`. For a chunked body, returns the maximum of
 * its route.
 */
function bodyBytesOf({ headers }: FastifyRequest, maxBytes: number): number {
  const bytes = Number(headers['content-length'] ?? maxBytes)
  return Math.min(Number.isSafeInteger(bytes) ? bytes : maxBytes, maxBytes)
}

/**
 * Returns the answer for the result of a command. A creation whose result already existed is
 * answered with 200 instead of 201.
 */
function toAnswer(route: RouteDefinition, result: unknown): HttpAnswer {
  if (route.status === 204) return { status: 204, body: undefined }
  const isDuplicate =
    typeof result === 'object' && result !== null && 'duplicate' in result && result.duplicate === true
  return { status: route.status === 201 && isDuplicate ? 200 : route.status, body: result ?? undefined }
}
