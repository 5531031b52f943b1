/**
 * One live link to a server, whatever carries it. A transport connects, tells what the server tells, asks commands and
 * closes; it never retries, waits or decides anything. One suite of tests runs on every transport.
 */
import type { CommandAck, CommandRequest, EventCommandName, ServerEvent } from '@chorus/protocol'
import type { TransportName } from './api.ts'

export interface Transport {
  readonly name: TransportName
  /** Begins to connect at once, resuming from the cursor if there is one. */
  connect(cursor: string | undefined, handlers: TransportHandlers): TransportLink
}

export interface TransportHandlers {
  /** The server accepted the link; events follow. */
  readonly onOpen: () => void
  readonly onEvent: (event: ServerEvent) => void
  /** A piece of an event has come, where the transport can see that: on a slow line one event takes long. */
  readonly onProgress?: () => void
  /** Called exactly once, and never after `close()`. */
  readonly onEnd: (end: LinkEnd) => void
}

export type LinkEnd =
  | { readonly kind: 'lost'; readonly retryAfterMs?: number }
  /** The server will not have this session: signing in again is what helps. */
  | { readonly kind: 'revoked'; readonly message: string }
  /** Trying again is of no use. */
  | { readonly kind: 'refused'; readonly message: string }

export interface TransportLink {
  /** Asks a command; rejects with a `ChorusError`, `unknown` when the link ends before the answer. */
  request<Name extends EventCommandName>(name: Name, request: CommandRequest<Name>): Promise<CommandAck<Name>>
  /** Ends the link; nothing is told afterwards. */
  close(): void
}

/** The Socket.IO events of the commands. A test holds the table against the definitions. */
export const commandEvents: { readonly [Name in EventCommandName]: string } = {
  'add-reaction': 'react',
  'delete-message': 'delete',
  'edit-message': 'edit',
  'mark-read': 'read',
  'remove-reaction': 'unreact',
  'send-message': 'send',
  'set-live-value': 'live',
  'set-status': 'status',
  sync: 'sync',
  'watch-presence': 'watch',
}

/** What a refusal means for the link. */
export function toLinkEnd(error: {
  code: string
  message: string
  retry: string
  retryAfterMs?: number | undefined
}): LinkEnd {
  if (error.code === 'unauthenticated' || error.code === 'revoked') return { kind: 'revoked', message: error.message }
  if (error.retry === 'never') return { kind: 'refused', message: error.message }
  return error.retryAfterMs === undefined ? { kind: 'lost' } : { kind: 'lost', retryAfterMs: error.retryAfterMs }
}
