/**
 * Finds the caller of a request: by the session cookie, or by a user token in `Authorization`. A
 * request with a token, or from a page of EMBED_ORIGINS, has no cookies from here on, so a page
 * that embeds Chorus can never act as the user who is signed in to this server in the same browser.
 */
import { ChorusError } from '@chorus/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Authenticator } from '../auth/authenticator.ts'
import { readBearer, readDevice } from '../auth/bearer.ts'
import { readUserAgent } from '../auth/user-agent.ts'
import type { Actor } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import { limitKeyOf } from '../support/address.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** User of the request; set by the routes that need one. */
    caller: Actor | undefined
    /** Token of `Authorization: Bearer`. */
    bearer: string | undefined
    /** Whether cookies are neither read nor set. */
    ignoresCookies: boolean
  }
}

/** Removes the cookies of requests with a token. Runs before every other reader of cookies. */
export function addBearer(app: FastifyInstance): void {
  app.decorateRequest('caller', undefined)
  app.decorateRequest('bearer', undefined)
  app.decorateRequest('ignoresCookies', false)
  app.addHook('onRequest', async (request) => {
    request.bearer = readBearer(request.headers.authorization)
    if (request.bearer !== undefined) ignoreCookies(request)
  })
}

export function ignoreCookies(request: FastifyRequest): void {
  request.ignoresCookies = true
  delete request.headers.cookie
}

/** Returns the user of a token and, with `Chorus-Device`, their session. Throws a refusal. */
export async function findTokenCaller(
  request: FastifyRequest,
  token: string,
  { parts, authenticator, address }: { parts: Parts; authenticator: Authenticator; address: string },
): Promise<Actor> {
  const { headers } = request
  const device = readDevice(headers['chorus-device'])
  const verified = await parts.userTokens.check(token, limitKeyOf(address))
  const { userId } = verified
  if (device === undefined) return { userId, sessionId: '' }
  const userAgent = readUserAgent(headers['user-agent'])
  const recognise = (hash: Buffer): ReturnType<Authenticator['recogniseHash']> => authenticator.recogniseHash(hash)
  return { userId, sessionId: await parts.tokenSessions.forRequest(verified, device, userAgent, recognise) }
}

/** Returns the error for a request without a valid credential. `what` completes "unable to …". */
export function signInFirst({ ignoresCookies }: FastifyRequest, what: string): ChorusError {
  return new ChorusError(
    'unauthenticated',
    `unable to ${what}; ${ignoresCookies ? 'send a user token' : 'sign in first'}`,
  )
}
