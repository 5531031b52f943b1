/**
 * A command is something a client asks for, in one file: its input, its result, and the ways in (an HTTP route, a
 * Socket.IO event, or both). Server dispatch, REST routes, the OpenAPI document and the SDK all read these definitions.
 */
import type * as z from 'zod'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export interface RouteDefinition {
  readonly method: Method
  /** With `{field}` where a field of the input stands; other fields come from the query (GET, DELETE) or the body. */
  readonly path: string
  /** The status of success; 204 sends no body. */
  readonly status: 200 | 201 | 204
  /** The whole body is this one field of the input. */
  readonly bodyIs?: string
}

export interface EventDefinition<Result, Ack> {
  /** The name of the Socket.IO event. */
  readonly name: string
  /** What the acknowledgement carries beside `ok: true`. */
  readonly ack: z.ZodType<Ack>
  readonly toAck: (result: Result) => Ack
}

export interface CommandDefinition<Name extends string, Input extends z.ZodType, Result extends z.ZodType, Ack> {
  readonly name: Name
  /** One sentence, for the API documentation. */
  readonly summary: string
  /** `none`: may be asked without a session. */
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
