/**
 * Interface of one live link to a server, whatever protocol carries it. A transport connects,
 * passes on server events, sends commands and closes. It never retries, waits or decides anything.
 * One test suite runs on every transport.
 */
import {
  ChorusError,
  type CommandAck,
  type CommandRequest,
  type EventCommandName,
  type ServerEvent,
} from '@chorus/protocol'
import type { TransportName } from '../model/api.ts'

export interface Transport {
  readonly name: TransportName
  /**
   * Starts connecting at once. The server replays the changes after the cursor, if there is one.
   */
  connect(cursor: string | undefined, handlers: TransportHandlers): TransportLink
}

export interface TransportHandlers {
  /** Called when the server has accepted the link, before any event. */
  readonly onOpen: () => void
  readonly onEvent: (event: ServerEvent) => void
  /**
   * Called for each received piece of an event, by transports that receive an event in pieces. So a
   * slow connection, where one event takes long, does not count as silent.
   */
  readonly onProgress?: () => void
  /** Called once when the link ends by itself, and never after `close()`. */
  readonly onEnd: (end: LinkEnd) => void
}

export type LinkEnd =
  | { readonly kind: 'lost'; readonly retryAfterMs?: number }
  /**
   * The server does not accept this session. The user must sign in again. With `mayRenew`, it did
   * not accept the credential, and may accept another user token.
   */
  | { readonly kind: 'revoked'; readonly message: string; readonly mayRenew?: true }
  /** The server refused permanently. A retry is useless. */
  | { readonly kind: 'refused'; readonly message: string }

export interface TransportLink {
  /**
   * Sends a command. Rejects with a `ChorusError`: `unknown` when the link ends before the
   * response.
   */
  request<Name extends EventCommandName>(name: Name, request: CommandRequest<Name>): Promise<CommandAck<Name>>
  /** Ends the link. No handler is called afterwards. */
  close(): void
}

/**
 * Converts an error to the end of the link: session revoked, refused permanently, or lost and worth
 * a retry.
 */
export function toLinkEnd(error: {
  code: string
  message: string
  retry: string
  retryAfterMs?: number | undefined
}): LinkEnd {
  const { code, message } = error
  if (code === 'revoked') return { kind: 'revoked', message }
  // When a connection ends because its token has expired, the server asks for a retry.
  if (code === 'unauthenticated' && error.retry === 'never') return { kind: 'revoked', message, mayRenew: true }
  if (error.retry === 'never') return { kind: 'refused', message }
  return error.retryAfterMs === undefined ? { kind: 'lost' } : { kind: 'lost', retryAfterMs: error.retryAfterMs }
}

/** Returns the error of a command that cannot be sent, because no link is open. */
export function notConnected(name: EventCommandName): ChorusError {
  return new ChorusError('unavailable', `unable to ${name}; there is no connection`)
}
