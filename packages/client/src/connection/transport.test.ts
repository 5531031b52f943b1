/**
 * Runs the contract suite on both transports. Also compares the client's table of command events
 * with the command definitions.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { commands } from '@chorus/protocol'
import { Server } from 'socket.io'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../support/clock.ts'
import { CookieJar } from '../wire/cookie-jar.ts'
import { createHttpApi } from '../wire/http-api.ts'
import { eventMaxChars } from '../wire/read-events.ts'
import { silenceMaxMs } from './transport-sse.ts'
import { ManualClock, settle } from '../testing/manual-clock.ts'
import { transportSuite } from '../testing/transport.suite.ts'
import { commandEvents } from '../wire/command-events.ts'
import { parseServerUrl } from '../wire/server-url.ts'
import { createSocketIoTransport } from './transport-socket-io.ts'
import { createSseTransport } from './transport-sse.ts'

transportSuite('Socket.IO', (url, token) =>
  createSocketIoTransport({ url: parseServerUrl(url), headers: () => ({ cookie: `chorus_session=${token}` }) }),
)

transportSuite('Server-Sent Events', (url, token) => {
  const cookieJar = new CookieJar({ chorus_session: token }, () => undefined)
  return createSseTransport({ api: createHttpApi({ url, fetch, cookieJar }), clock: systemClock })
})

describe('the table of command events', () => {
  it('the table of command events matches the command definitions', () => {
    const defined = Object.entries(commands).flatMap(([name, definition]) =>
      'event' in definition && definition.event !== undefined ? [[name, definition.event.name]] : [],
    )
    expect(commandEvents).toEqual(Object.fromEntries(defined))
  })
})

describe('the event stream', () => {
  function stream(clock: ManualClock) {
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined
    const body = new ReadableStream<Uint8Array>({
      start: (started) => {
        controller = started
      },
    })
    const answer = () =>
      Promise.resolve(new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } }))
    const ends: unknown[] = []
    const names: string[] = []
    createSseTransport({ api: createHttpApi({ url: 'http://x', fetch: answer }), clock }).connect(undefined, {
      onOpen: () => names.push('open'),
      onEvent: ({ name }) => names.push(name),
      onEnd: (end) => ends.push(end),
    })
    return { ends, names, write: (text: string) => controller?.enqueue(new TextEncoder().encode(text)) }
  }

  it('[SSE1] an event stream ends when it is silent for longer than heartbeats allow', async () => {
    const clock = new ManualClock()
    const { ends, names, write } = stream(clock)
    await settle()
    expect(names).toEqual(['open'])
    for (let beats = 0; beats < 5; beats += 1) {
      await clock.advance(silenceMaxMs - 1_000)
      write(': still here\n\n')
      await settle()
    }
    expect(ends).toEqual([])
    await clock.advance(silenceMaxMs)
    expect(ends).toEqual([{ kind: 'lost' }])
  })

  it('[LIM1] an event stream ends when one event exceeds the maximum length', async () => {
    const { ends, write } = stream(new ManualClock())
    await settle()
    write('event: changes\ndata: ')
    for (let sent = 0; sent <= eventMaxChars; sent += 1_048_576) write('x'.repeat(1_048_576))
    await settle()
    await settle()
    expect(ends).toEqual([{ kind: 'lost' }])
  })

  it('the SSE transport reads events that arrive split at any byte', async () => {
    const { names, write } = stream(new ManualClock())
    await settle()
    const text =
      'event: checkpoint\nid: c1\ndata: {"cursor":"c1"}\n\nevent: live\ndata: [{"conversation":"c","key":"ü","user":"u","value":1,"at":"a","expiresAt":"b"}]\n\n'
    for (const char of text) write(char)
    await settle()
    expect(names).toEqual(['open', 'checkpoint', 'live'])
  })
})

describe('a server URL with a path', () => {
  it('Socket.IO connects below the path of the server URL', async () => {
    const http = createServer()
    const io = new Server(http, { path: '/chat/socket.io', transports: ['websocket'] })
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    const { port } = http.address() as AddressInfo
    const url = parseServerUrl(`http://127.0.0.1:${port}/chat/`)
    const opened = await new Promise((resolve) => {
      const link = createSocketIoTransport({ url, headers: () => ({}) }).connect(undefined, {
        onOpen: () => {
          link.close()
          resolve('open')
        },
        onEvent: () => undefined,
        onEnd: resolve,
      })
    })
    expect(opened).toBe('open')
    await io.close()
  })
})
