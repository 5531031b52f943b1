/** Builds the HTTP request of an ordinary command from its definition in the protocol. */
import { type CommandName, commands, type RouteDefinition } from '@chorus/protocol'

/** Commands that a key may not send as a user: they belong to signed-in devices. */
type DeviceCommand =
  | 'sign-up'
  | 'sign-in'
  | 'sign-out'
  | 'get-session'
  | 'list-sessions'
  | 'revoke-session'
  | 'get-session-data'
  | 'update-session-data'
  | 'confirm-email'

export type UserCommand = Exclude<CommandName, DeviceCommand>

export interface CommandTarget {
  readonly method: RouteDefinition['method']
  readonly path: string
  readonly body: unknown
}

/** Fills the path; the remaining fields go into the query (GET, DELETE) or the body. */
export function toCommandTarget(name: UserCommand, request: object): CommandTarget {
  const route: RouteDefinition | undefined = commands[name].route
  if (route === undefined) throw new TypeError(`unable to ${name}; the command has no HTTP route`)
  const rest = new Map(Object.entries(request).filter(([, value]) => value !== undefined))
  const path = route.path.replace(/\{(\w+)\}/g, (_, field: string) => {
    const value: unknown = rest.get(field)
    rest.delete(field)
    return toPathSegment(String(value))
  })
  if (route.method === 'GET' || route.method === 'DELETE') {
    const query = new URLSearchParams([...rest].map(([field, value]) => [field, String(value)]))
    return { method: route.method, path: query.size === 0 ? path : `${path}?${query.toString()}`, body: undefined }
  }
  const body: unknown = route.bodyIs === undefined ? Object.fromEntries(rest) : rest.get(route.bodyIs)
  return { method: route.method, path, body }
}

/** Encodes a value as one segment of a path. Refuses `.` and `..`, which URLs cannot carry. */
export function toPathSegment(value: string): string {
  if (value === '' || value === '.' || value === '..' || !value.isWellFormed())
    throw new TypeError(`unable to call Chorus; ${JSON.stringify(value)} cannot be a part of an address`)
  return encodeURIComponent(value)
}
