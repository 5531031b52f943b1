/**
 * Defines a command: a client request, described in one file by its input, its result and its
 * transports (an HTTP route, a Socket.IO event, or both). Server dispatch, REST routes, the OpenAPI
 * document and the SDK all read these definitions.
 */
import type * as z from 'zod'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

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
}

export interface EventDefinition<Result, Ack> {
  /** Name of the Socket.IO event. */
  readonly name: string
  /** Content of the acknowledgement, in addition to `ok: true`. */
  readonly ack: z.ZodType<Ack>
  readonly toAck: (result: Result) => Ack
}

export interface CommandDefinition<Name extends string, Input extends z.ZodType, Result extends z.ZodType, Ack> {
  readonly name: Name
  /** Description of the command in one sentence, for the API documentation. */
  readonly summary: string
  /** Whether the command needs a session. `none`: also callers without a session can send it. */
  readonly auth: 'session' | 'none'
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
>(definition: CommandDefinition<Name, Input, Result, Ack>): CommandDefinition<Name, Input, Result, Ack> {
  return definition
}
