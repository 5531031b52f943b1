/**
 * The Socket.IO transport of a simulated client: the standard socket.io-client over WebSocket or
 * long-polling. Its automatic reconnection is off, so that every lost connection is recorded.
 */
import { isServerEvent } from './server-event.ts'
import { io } from 'socket.io-client'
import { callTimeoutMs, toOutcome } from './http-calls.ts'
import type { Wire } from './raw-actor.ts'

interface Answer {
  readonly ok: boolean
  readonly seq?: number
  readonly duplicate?: boolean
  readonly error?: { readonly code: string; readonly retryAfterMs?: number }
  readonly presence?: readonly { readonly user: string; readonly status: 'online' | 'away' | 'offline' | 'unknown' }[]
}

export function createSocketIoWire(url: string, transport: 'websocket' | 'polling'): Wire {
  return {
    kind: transport === 'websocket' ? 'socket-io' : 'polling',
    canSendWithoutLink: false,
    connect({ cookie, cursor }, { onOpen, onEvent, onEnd }) {
      const socket = io(url, {
        transports: [transport],
        extraHeaders: { cookie },
        // Send cookies like a browser: the balancer uses a cookie to route all polling requests of
        // a session to the same server.
        withCredentials: transport === 'polling',
        forceNew: true,
        reconnection: false,
        timeout: callTimeoutMs,
        auth: { cursor },
      })
      const { engine } = socket.io as { engine?: Engine }
      engine?._cookieJar?.parseCookies([cookie])
      let isClosed = false
      const end = (why: string): void => {
        if (isClosed) return
        isClosed = true
        socket.disconnect()
        onEnd(why)
      }
      socket.on('connect', onOpen)
      socket.on('connect_error', (error) => end(`connect_error ${error.message}`))
      socket.on('disconnect', (reason) => end(reason))
      socket.onAny((name: string, payload: unknown) => {
        const event = { name, payload }
        if (!isClosed && isServerEvent(event)) onEvent(event)
      })
      const ask = (name: string, payload: unknown): Promise<Answer> =>
        socket.timeout(callTimeoutMs).emitWithAck(name, payload) as Promise<Answer>
      return {
        async send({ conversation, clientId, text }) {
          let answer: Answer
          try {
            answer = await ask('send', { conversation, clientId, text })
          } catch {
            return { type: 'info', code: isClosed ? 'gone' : 'timeout' }
          }
          if (answer.ok && answer.seq !== undefined)
            return { type: 'ok', seq: answer.seq, isDuplicate: answer.duplicate === true }
          return toOutcome(answer.error?.code ?? 'unknown', answer.error?.retryAfterMs)
        },
        async watch(users) {
          return (await ask('watch', { users: [...users] })).presence ?? []
        },
        pause(isPaused) {
          const ws = (socket.io as { engine?: Engine }).engine?.transport?.ws
          if (isPaused) ws?.pause?.()
          else ws?.resume?.()
        },
        close() {
          isClosed = true
          socket.disconnect()
        },
      }
    },
  }
}

/**
 * Internal fields of socket.io-client, which has no public access to its socket and its cookies.
 */
interface Engine {
  readonly transport?: { readonly ws?: { pause?(): void; resume?(): void } }
  readonly _cookieJar?: { parseCookies(cookies: readonly string[]): void }
}
