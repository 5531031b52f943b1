/**
 * Transport over Socket.IO, with WebSocket only. The library is loaded with the first link, so that
 * a page can show stored data before the library has arrived. Socket.IO's own reconnection is off,
 * because it would resume without a cursor.
 */
import { ChorusError, type CommandAck, type CommandRequest, type EventCommandName, isErrorCode } from '@chorus/protocol'
import type { Socket } from 'socket.io-client'
import { requestTimeoutMs } from '../wire/http-api.ts'
import { isObject, isText, toServerEvent } from '../wire/server-events.ts'
import type { ServerUrl } from '../wire/server-url.ts'
import { commandEvents } from '../wire/command-events.ts'
import { type LinkEnd, notConnected, type Transport, toLinkEnd } from './transport.ts'

export interface SocketIoTransportOptions {
  readonly url: ServerUrl
  /**
   * Returns the headers to send where the platform allows it (Node): the cookie and the user agent.
   */
  readonly headers: () => Readonly<Record<string, string>>
  /** Returns user tokens for the handshake. Default: cookies. */
  readonly tokens?: (() => Promise<LinkTokens>) | undefined
}

/** Credential of one link. */
export interface TokenUse {
  readonly token: string
  /** Id of this device: the server keeps one session for each user and device. */
  readonly device: string
}

export interface LinkTokens {
  /** Returns the token to connect with. */
  forLink(): Promise<TokenUse>
  /** Notes whether the server has accepted the token. */
  settle(token: string, isAccepted: boolean): void
}

export function createSocketIoTransport({ url, headers, tokens: loadTokens }: SocketIoTransportOptions): Transport {
  return {
    name: 'socket-io',
    connect: (cursor, handlers) => {
      let socket: Socket | undefined
      let isOver = false

      const end = (how: LinkEnd): void => {
        if (isOver) return
        isOver = true
        socket?.disconnect()
        handlers.onEnd(how)
      }

      const open = async (): Promise<void> => {
        const [{ io }, tokens] = await Promise.all([import('socket.io-client'), loadTokens?.()])
        const use = await tokens?.forLink()
        if (isOver) return
        const opened = io(url.origin, {
          path: `${url.path}/socket.io`,
          transports: ['websocket'],
          reconnection: false,
          forceNew: true,
          withCredentials: use === undefined,
          extraHeaders: { ...headers() },
          auth: { ...(cursor !== undefined && { cursor }), ...use },
          autoConnect: false,
        })
        socket = opened
        opened.on('connect', () => {
          if (use !== undefined) tokens?.settle(use.token, true)
          if (!isOver) handlers.onOpen()
        })
        opened.on('connect_error', (error: Error & { data?: unknown }) => {
          const refusal = toRefusal(error)
          if (use !== undefined && refusal.kind === 'revoked') tokens?.settle(use.token, false)
          end(refusal)
        })
        opened.on('disconnect', () => end({ kind: 'lost' }))
        opened.onAny((name: string, payload: unknown) => {
          const event = isOver ? undefined : toServerEvent(name, payload)
          if (event !== undefined) handlers.onEvent(event)
        })
        opened.connect()
      }
      open().catch((error: unknown) => end(error instanceof ChorusError ? toLinkEnd(error) : { kind: 'lost' }))

      return {
        request: async <Name extends EventCommandName>(name: Name, request: CommandRequest<Name>) => {
          if (socket?.connected !== true) throw notConnected(name)
          let answer: unknown
          try {
            answer = await socket.timeout(requestTimeoutMs).emitWithAck(commandEvents[name], request)
          } catch (error) {
            throw new ChorusError('unknown', `unable to ${name}; the response did not arrive`, { cause: error })
          }
          return toAck(name, answer)
        },
        close: () => {
          isOver = true
          socket?.disconnect()
        },
      }
    },
  }
}

function toAck<Name extends EventCommandName>(name: Name, answer: unknown): CommandAck<Name> {
  if (isObject(answer)) {
    if (answer['ok'] === true) return answer as unknown as CommandAck<Name>
    const error = toRefusedError(answer['error'])
    if (error !== undefined) throw error
  }
  throw new ChorusError('unknown', `unable to ${name}; the response could not be read`)
}

function toRefusedError(body: unknown): ChorusError | undefined {
  if (!isObject(body)) return undefined
  const { code, message, retryAfterMs, current } = body
  if (!isErrorCode(code)) return undefined
  const options = { current, ...(typeof retryAfterMs === 'number' && { retryAfterMs }) }
  const text = isText(message) ? message : `unable to complete request; the server responded with ${code}`
  return new ChorusError(code, text, options)
}

function toRefusal(error: Error & { data?: unknown }): LinkEnd {
  const refused = toRefusedError(error.data)
  return refused === undefined ? { kind: 'lost' } : toLinkEnd(refused)
}
