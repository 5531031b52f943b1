/**
 * Defines a command: a client request, described in one file by its input, its result and its
 * transports (an HTTP route, a Socket.IO event, or both). Server dispatch, REST routes, the OpenAPI
 * document and the SDK all read these definitions.
 */
import type * as z from 'zod'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/**
 * Scopes of an API key. `read`: commands that only read. `write`: all other commands, and
 * `Chorus-As`. `admin`: erase and deactivate users, and revoke their tokens.
 */
export const keyScopes = ['read', 'write', 'admin'] as const
export type KeyScope = (typeof keyScopes)[number]

export interface RouteDefinition {
  readonly method: Method
  /**
   * URL path, with `{field}` in the place of an input field. The other input fields come from the
   * query (GET, DELETE) or the body.
   */
  readonly path: string
  /** HTTP status of a successful response; 204 has no body. */
  readonly status: 200 | 201 | 204
  /** Name of the input field whose value is the whole request body. */
  readonly bodyIs?: string
  /** Maximum size of the request body in bytes, if it differs from `limits.requestMaxBytes`. */
  readonly bodyMaxBytes?: number
}

export interface EventDefinition<Result, Ack> {
  /** Name of the Socket.IO event. */
  readonly name: string
  /** Content of the acknowledgement, in addition to `ok: true`. */
  readonly ack: z.ZodType<Ack>
  readonly toAck: (result: Result) => Ack
}

/**
 * Credential that a command needs. `session`: a signed-in user, or an API key that acts as its bot
 * or as a user. `key`: an API key. `none`: no credential.
 */
export type CommandAuth = 'session' | 'key' | 'none'

export interface CommandDefinition<
  Name extends string,
  Input extends z.ZodType,
  Result extends z.ZodType,
  Ack,
  Auth extends CommandAuth = CommandAuth,
> {
  readonly name: Name
  /** Description of the command in one sentence, for the API documentation. */
  readonly summary: string
  readonly auth: Auth
  /**
   * Scope that an API key needs. Default: `read` for a GET route, otherwise `write`.
   */
  readonly scope?: KeyScope
  /** Whether a command with `auth: 'key'` acts as the user of `Chorus-As`. */
  readonly actsAs?: boolean
  /** Whether the command concerns the session of the request, which API keys do not have. */
  readonly ownSession?: boolean
  readonly input: Input
  readonly result: Result
  readonly route?: RouteDefinition
  readonly event?: EventDefinition<z.infer<Result>, Ack>
}

export function defineCommand<
  const Name extends string,
  Input extends z.ZodType,
  Result extends z.ZodType,
  Ack = never,
  const Auth extends CommandAuth = CommandAuth,
>(definition: CommandDefinition<Name, Input, Result, Ack, Auth>): CommandDefinition<Name, Input, Result, Ack, Auth> {
  return definition
}
