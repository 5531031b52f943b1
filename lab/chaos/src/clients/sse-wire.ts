/**
 * The Server-Sent Events transport of a simulated client: a stream of events that resumes by
 * Last-Event-ID, and POST requests for sending. Uses only Node's http.
 */
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { HttpUser } from '@chorus/testkit'
import { callForOutcome } from './http-calls.ts'
import type { Wire } from './raw-actor.ts'
import { isServerEvent } from './server-event.ts'

/**
 * Time without data after which this client treats a connection as dead. The server sends a
 * heartbeat every 15 s.
 */
const silenceMaxMs = 40_000
const eventMaxChars = 8_000_000

export function createSseWire(url: string): Wire {
  return {
    kind: 'sse',
    canSendWithoutLink: true,
    connect({ cookie, cursor }, { onOpen, onEvent, onEnd }) {
      const http = HttpUser.stranger(url)
      http.cookie = cookie
      let incoming: IncomingMessage | undefined
      let isClosed = false
      let silence: NodeJS.Timeout | undefined
      const end = (why: string): void => {
        if (isClosed) return
        isClosed = true
        clearTimeout(silence)
        outgoing.destroy()
        onEnd(why)
      }
      const heard = (): void => {
        clearTimeout(silence)
        silence = setTimeout(() => end('silence'), silenceMaxMs)
      }
      const outgoing = request(new URL('/v1/events', url), {
        agent: false,
        headers: { accept: 'text/event-stream', cookie, 'last-event-id': cursor },
      })
      outgoing.on('error', (error) => end(error.message))
      outgoing.on('response', (response) => {
        if (isClosed) return
        incoming = response
        response.on('close', () => end('closed'))
        response.on('error', (error) => end(error.message))
        if (response.statusCode !== 200) {
          response.resume()
          end(`status ${response.statusCode ?? 0}`)
          return
        }
        onOpen()
        response.setEncoding('utf8')
        const read = createEventReader((name, data) => {
          const event = { name, payload: JSON.parse(data) as unknown }
          if (!isClosed && isServerEvent(event)) onEvent(event)
        })
        response.on('data', (text: string) => {
          heard()
          read(text)
        })
      })
      outgoing.end()
      heard()
      return {
        send: ({ conversation, clientId, text }) =>
          callForOutcome<{ message: { seq: number }; duplicate?: boolean }>(
            http,
            'POST',
            `/v1/conversations/${conversation}/messages`,
            { clientId, text },
            ({ message, duplicate }) => ({ seq: message.seq, isDuplicate: duplicate === true }),
          ),
        pause(isPaused) {
          if (isPaused) incoming?.pause()
          else incoming?.resume()
        },
        close() {
          isClosed = true
          clearTimeout(silence)
          outgoing.destroy()
        },
      }
    },
  }
}

/**
 * Splits a stream's text into events as the HTML standard defines. Ignores the events' ids, because
 * the data also contains the cursor.
 */
function createEventReader(onEvent: (name: string, data: string) => void): (text: string) => void {
  let rest = ''
  let name = ''
  let data: string[] = []
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r/)
    rest = lines.pop() ?? ''
    if (rest.length > eventMaxChars) throw new Error('unable to read events; one event does not end')
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) onEvent(name || 'message', data.join('\n'))
        name = ''
        data = []
      } else if (line.startsWith('event:')) name = line.slice(6).replace(/^ /, '')
      else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''))
    }
  }
}
