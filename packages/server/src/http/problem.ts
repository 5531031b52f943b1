/**
 * Sends errors over HTTP as `application/problem+json`. Unexpected errors are logged with their
 * cause and the request's id.
 */
import { ChorusError } from '@chorus/protocol'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { toChorusError } from '../dispatch/to-chorus-error.ts'
import type { Logger } from '../support/logger.ts'
import { problemHeaders } from '../support/problem-headers.ts'

export function sendProblem(reply: FastifyReply, error: ChorusError): FastifyReply {
  return reply
    .code(error.status)
    .header('cache-control', 'no-store')
    .headers(problemHeaders(error))
    .send(JSON.stringify(error.toProblem()))
}

/** Answers 405 for a method that the address does not support. */
export function sendWrongMethod(reply: FastifyReply, allow: string): FastifyReply {
  const error = new ChorusError('not-found', `unable to answer; this address allows only ${allow}`)
  return reply
    .code(405)
    .header('cache-control', 'no-store')
    .header('allow', allow)
    .headers(problemHeaders(error))
    .send(JSON.stringify({ ...error.toProblem(), title: 'Method not allowed', status: 405 }))
}

/**
 * Requests whose command has begun to run. If one fails, it may already have changed something
 * (rule ACK2).
 */
const begun = new WeakSet<FastifyRequest>()

/** Records that the handler of a command that changes something is about to run. */
export function noteBegin(request: FastifyRequest): void {
  begun.add(request)
}

export function answerWithProblem(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  logger: Logger,
): FastifyReply {
  const changes = begun.has(request)
  const about = { request: request.id, method: request.method, route: request.routeOptions.url }
  const problem = toChorusError(error, changes, (unexpected) => {
    logger.error({ ...about, err: unexpected }, 'a request failed')
  })
  if (problem.cause !== undefined) logger.warn({ ...about, err: problem.cause }, problem.message)
  return sendProblem(reply, problem)
}
