/**
 * Transport for networks that block WebSocket: Server-Sent Events for receiving, HTTP requests for
 * sending. It uses `fetch` instead of `EventSource`, so that it works in Node, sees the HTTP status
 * of a refusal, and notices a connection that has gone silent.
 */
import type { CommandAck, CommandRequest, EventCommandName } from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import { type HttpApi, type HttpLine, toChorusError } from '../wire/http-api.ts'
import { toServerEvent } from '../wire/server-events.ts'
import { type LinkEnd, notConnected, type Transport, toLinkEnd } from './transport.ts'

/**
 * Maximum time without data before the event stream counts as dead. The server sends a comment
 * every 15 s.
 */
export const silenceMaxMs = 40_000
export interface SseTransportOptions {
  readonly api: HttpLine
  readonly clock: Clock
}

export function createSseTransport({ api, clock }: SseTransportOptions): Transport {
  return {
    name: 'sse',
    connect: (cursor, handlers) => {
      const abort = new AbortController()
      let isOver = false
      let cancelSilence: () => void = () => undefined

      // A function, not a variable: a handler may close the link during any await, so the value
      // must be read each time.
      const isClosed = (): boolean => isOver

      const end = (how: LinkEnd): void => {
        if (isOver) return
        stop()
        handlers.onEnd(how)
      }
      const stop = (): void => {
        isOver = true
        cancelSilence()
        abort.abort()
      }
      const heard = (): void => {
        cancelSilence()
        cancelSilence = clock.after(silenceMaxMs, () => end({ kind: 'lost' }))
      }

      const read = async (): Promise<void> => {
        const path = cursor === undefined ? '/v1/events' : `/v1/events?cursor=${encodeURIComponent(cursor)}`
        const response = await api.open(path, { accept: 'text/event-stream' }, abort.signal)
        const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true
        if (!response.ok) return end(toLinkEnd(await toChorusError('follow events', response)))
        if (!isStream || response.body === null) return end({ kind: 'lost' })
        // Load the reader of events on demand, because most clients use WebSocket.
        const { readEvents } = await import('../wire/read-events.ts')
        if (isClosed()) return
        handlers.onOpen()
        await readEvents(response.body, {
          isClosed,
          onPiece: () => {
            heard()
            handlers.onProgress?.()
          },
          onEvent: (name, payload) => {
            const known = isClosed() ? undefined : toServerEvent(name, payload)
            if (known !== undefined) handlers.onEvent(known)
          },
        })
        if (isClosed()) return
        end({ kind: 'lost' })
      }
      heard()
      read().catch(() => end({ kind: 'lost' }))

      return {
        request: (name, request) => (isOver ? Promise.reject(notConnected(name)) : callForAck(api, name, request)),
        close: stop,
      }
    },
  }
}

/**
 * Sends a command over HTTP and returns its acknowledgement. For all commands but `send-message`,
 * the acknowledgement is a part of the HTTP result.
 */
export async function callForAck<Name extends EventCommandName>(
  api: HttpApi,
  name: Name,
  request: CommandRequest<Name>,
): Promise<CommandAck<Name>> {
  const result: unknown = await api.call(name, request)
  if (name === 'send-message') {
    const { message, duplicate } = result as { message: { seq: number; createdAt: string }; duplicate?: true }
    const ack = { seq: message.seq, createdAt: message.createdAt, ...(duplicate && { duplicate }) }
    return ack as unknown as CommandAck<Name>
  }
  return result as CommandAck<Name>
}
