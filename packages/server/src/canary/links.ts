/**
 * The canary's two connections to its server, written as an independent client would write them:
 * Socket.IO packets on a plain WebSocket, and Server-Sent Events over a plain request. They share
 * no code with the parts they test.
 */
import { get } from 'node:http'
import { WebSocket } from 'ws'

export type LinkEvent = (name: string, payload: unknown) => void

export interface Link {
  close(): void
}

export interface SocketLink extends Link {
  /**
   * Sends a command and resolves to its response. Rejects when the connection ends or the time
   * limit passes first.
   */
  ask(event: string, payload: object): Promise<Record<string, unknown>>
}

export interface LinkOptions {
  /** Base URL of the server, `http://…`. */
  readonly url: string
  readonly cookie: string
  readonly cursor: string | undefined
  readonly onEvent: LinkEvent
  /** Called once when the connection ends for any reason, but not after `close()`. */
  readonly onEnd: () => void
}

const askMaxMs = 10_000
/**
 * Time without any received data after which a connection counts as dead. The server pings every 10
 * s, and sends an SSE comment every 15 s.
 */
const silenceMaxMs = 40_000
const lineMaxChars = 1_048_576

/** Calls `onSilence` when no received data was reported for `silenceMaxMs`. */
function watchSilence(onSilence: () => void): { heard(): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined
  const watch = {
    heard: () => {
      clearTimeout(timer)
      timer = setTimeout(onSilence, silenceMaxMs)
      timer.unref()
    },
    stop: () => clearTimeout(timer),
  }
  watch.heard()
  return watch
}

export function openSocketLink({ url, cookie, cursor, onEvent, onEnd }: LinkOptions): SocketLink {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`, {
    headers: { cookie },
    handshakeTimeout: askMaxMs,
    perMessageDeflate: false,
  })
  const waiting = new Map<number, (answer: Record<string, unknown> | Error) => void>()
  let nextAsk = 0
  let isOver = false
  const silence = watchSilence(() => socket.terminate())
  const end = (): void => {
    silence.stop()
    for (const answer of waiting.values()) answer(new Error('the connection ended before the response'))
    waiting.clear()
    if (isOver) return
    isOver = true
    onEnd()
  }
  socket.on('error', () => undefined)
  socket.on('close', end)
  const take = (packet: string): void => {
    // First digit, Engine.IO packet: 0 open, 2 ping, 4 message. Second digit of a message,
    // Socket.IO packet: 2 event, 3 acknowledgement, 4 refusal.
    if (packet.startsWith('0')) socket.send(`40${JSON.stringify(cursor === undefined ? {} : { cursor })}`)
    else if (packet === '2') socket.send('3')
    else if (packet.startsWith('44')) socket.close()
    else if (packet.startsWith('42')) {
      const [name, payload] = JSON.parse(packet.slice(packet.indexOf('['))) as [string, unknown]
      onEvent(name, payload)
    } else if (packet.startsWith('43')) {
      const from = packet.indexOf('[')
      const id = Number(packet.slice(2, from))
      const [answer] = JSON.parse(packet.slice(from)) as [Record<string, unknown>]
      waiting.get(id)?.(answer)
      waiting.delete(id)
    }
  }
  socket.on('message', (data: Buffer) => {
    silence.heard()
    try {
      take(data.toString())
    } catch {
      socket.terminate()
    }
  })
  return {
    ask: (event, payload) =>
      new Promise((resolve, reject) => {
        if (socket.readyState !== WebSocket.OPEN) {
          reject(new Error('the connection is not open'))
          return
        }
        const id = nextAsk++
        const timer = setTimeout(() => {
          waiting.delete(id)
          reject(new Error('no response in time'))
        }, askMaxMs)
        timer.unref()
        waiting.set(id, (answer) => {
          clearTimeout(timer)
          if (answer instanceof Error) reject(answer)
          else resolve(answer)
        })
        socket.send(`42${id}${JSON.stringify([event, payload])}`)
      }),
    close: () => {
      isOver = true
      socket.close()
    },
  }
}

export function openEventLink({ url, cookie, cursor, onEvent, onEnd }: LinkOptions): Link {
  const query = cursor === undefined ? '' : `?cursor=${encodeURIComponent(cursor)}`
  let isOver = false
  const end = (): void => {
    silence.stop()
    request.destroy()
    if (isOver) return
    isOver = true
    onEnd()
  }
  const silence = watchSilence(() => request.destroy())
  const request = get(`${url}/v1/events${query}`, { headers: { cookie, accept: 'text/event-stream' }, agent: false })
  request.on('error', end)
  request.on('close', end)
  request.on('response', (response) => {
    if (response.statusCode !== 200) {
      response.resume()
      end()
      return
    }
    let rest = ''
    let name = ''
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => {
      silence.heard()
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > lineMaxChars) end()
      try {
        for (const line of lines) {
          if (line.startsWith('event: ')) name = line.slice(7)
          else if (line.startsWith('data: ') && !isOver) onEvent(name, JSON.parse(line.slice(6)))
        }
      } catch {
        end()
      }
    })
    response.on('end', end)
  })
  return {
    close: () => {
      isOver = true
      request.destroy()
    },
  }
}
