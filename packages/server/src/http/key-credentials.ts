/**
 * API keys over HTTP: `Authorization: Bearer sk_…`. A request with a key ignores cookies. With
 * `Chorus-As` it acts as the user with that external id, otherwise as the bot of the key (rule
 * KEY1).
 */
import {
  ChorusError,
  type CommandAuth,
  type CommandName,
  commands,
  externalIdSchema,
  type KeyScope,
} from '@chorus/protocol'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { findExternalUser } from '../accounts/external-users.ts'
import type { Actor } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import { verbOf } from '../dispatch/parse-input.ts'
import type { ApiKey } from '../keys/key-store.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** API key of the request, if it has one. */
    apiKey: ApiKey | undefined
  }
}

const secretPattern = /^bearer (sk_[a-z0-9]{16}_[A-Za-z0-9_-]{43})$/i

/** Finds the key of each request with a secret. Refuses unknown, ended and revoked keys. */
export function addKeyCredentials(app: FastifyInstance, { keys }: Pick<Parts, 'keys'>): void {
  app.decorateRequest('apiKey', undefined)
  app.addHook('onRequest', async (request) => {
    const { authorization } = request.headers
    if (authorization === undefined || !/^bearer sk_/i.test(authorization)) return
    const secret = secretPattern.exec(authorization)?.[1]
    const key = secret === undefined ? undefined : await keys.findBySecret(secret)
    if (key === undefined)
      throw new ChorusError('unauthenticated', 'unable to answer; the API key is unknown, ended or revoked')
    request.apiKey = key
  })
}

interface Definition {
  readonly auth: CommandAuth
  readonly scope?: KeyScope
  readonly ownSession?: boolean
  readonly actsAs?: boolean
  readonly route?: { readonly method: string }
}

/** Throws unless an API key may use this command with the scopes that this key has. */
export function requireScope(request: FastifyRequest, name: CommandName, { scopes }: ApiKey): void {
  const { auth, scope, ownSession, actsAs, route }: Definition = commands[name]
  // Commands without a session sign a user in. Only public data is read without one.
  if ((auth === 'none' && route?.method !== 'GET') || ownSession === true)
    throw new ChorusError('forbidden', `unable to ${verbOf(name)}; an API key has no session`)
  const actsAsUser = request.headers['chorus-as'] !== undefined
  if (actsAsUser && auth === 'key' && actsAs !== true)
    throw new ChorusError('invalid', `unable to ${verbOf(name)}; Chorus-As has no meaning for this command`)
  const needed = scope ?? (route?.method === 'GET' && !actsAsUser ? 'read' : 'write')
  if (!scopes.includes(needed))
    throw new ChorusError('forbidden', `unable to ${verbOf(name)}; the API key lacks the scope ${needed}`)
}

/** Returns the user of `Chorus-As`, or the bot of the key. */
export async function actorOfKey(
  request: FastifyRequest,
  name: CommandName,
  key: ApiKey,
  { database }: Pick<Parts, 'database'>,
): Promise<Actor> {
  const externalId = readExternalId(request, name)
  const userId = externalId === undefined ? key.botUser : await findExternalUser(database, externalId)
  if (userId === undefined)
    throw new ChorusError('not-found', `unable to ${verbOf(name)}; there is no user with the id in Chorus-As`)
  return { userId, sessionId: '' }
}

/**
 * Reads the header `Chorus-As`. It contains the UTF-8 bytes of the external id, percent-encoded as
 * in a path, because headers transport only ASCII safely.
 */
function readExternalId(request: FastifyRequest, name: CommandName): string | undefined {
  const header = request.headers['chorus-as']
  if (header === undefined) return undefined
  const parsed = externalIdSchema.safeParse(typeof header === 'string' ? decode(header) : undefined)
  if (!parsed.success)
    throw new ChorusError('invalid', `unable to ${verbOf(name)}; Chorus-As is not a percent-encoded external id`)
  return parsed.data
}

function decode(header: string): string | undefined {
  try {
    return decodeURIComponent(header)
  } catch {
    return undefined
  }
}
