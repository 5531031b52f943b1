/**
 * A client for raw Server-Sent Events, parsed only by the rules of the HTML standard. It stores
 * every event in order with its id, and counts comments (heartbeats).
 */
import { request } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { patienceMs, waitForFact } from './wait-for-fact.ts'

const keptEventsMax = 100_000

export interface SseEvent {
  readonly name: string
  readonly data: unknown
  /** Id of the event; undefined if it had no `id:` line. */
  readonly id: string | undefined
}

export interface SseOptions {
  readonly cookie?: string | undefined
  readonly cursor?: string
  readonly lastEventId?: string
  readonly headers?: Readonly<Record<string, string>>
}

export class SseClient {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly events: SseEvent[] = []
  /** Last received `id:`, which a browser would send as Last-Event-ID. */
  lastEventId: string | undefined
  commentCount = 0
  /** Resolves when the stream has ended for any reason. */
  readonly ended: Promise<void>
  readonly #incoming: IncomingMessage
  #text = ''
  #name = ''
  #data: string[] = []
  #id: string | undefined

  private constructor(incoming: IncomingMessage) {
    this.#incoming = incoming
    this.status = incoming.statusCode ?? 0
    this.headers = incoming.headers
    this.ended = new Promise((resolve) => {
      incoming.once('close', resolve)
      incoming.once('error', () => resolve())
    })
    incoming.setEncoding('utf8')
    incoming.on('data', (chunk: string) => this.#read(chunk))
  }

  /**
   * Opens a stream. Resolves when the response headers have arrived: from then on the server sends
   * events.
   */
  static open(url: string, options: SseOptions = {}): Promise<SseClient> {
    const address = new URL('/v1/events', url)
    if (options.cursor !== undefined) address.searchParams.set('cursor', options.cursor)
    return new Promise((resolve, reject) => {
      const outgoing = request(address, {
        agent: false,
        headers: {
          accept: 'text/event-stream',
          ...(options.cookie !== undefined && { cookie: options.cookie }),
          ...(options.lastEventId !== undefined && { 'last-event-id': options.lastEventId }),
          ...options.headers,
        },
      })
      outgoing.once('response', (incoming) => resolve(new SseClient(incoming)))
      outgoing.once('error', reject)
      outgoing.end()
    })
  }

  /** Returns all events with this name, in order. */
  named(name: string): SseEvent[] {
    return this.events.filter((event) => event.name === name)
  }

  /** Waits for an event for which `fits` returns true. Events received earlier count as well. */
  waitFor(fits: (event: SseEvent) => boolean, what = 'an event', timeoutMs = patienceMs): Promise<SseEvent> {
    return waitForFact(() => this.events.find(fits), { what, timeoutMs })
  }

  /** Stops reading from the socket, to simulate a slow client. */
  pause(): void {
    this.#incoming.pause()
  }

  resume(): void {
    this.#incoming.resume()
  }

  close(): void {
    this.#incoming.destroy()
  }

  #read(chunk: string): void {
    this.#text += chunk
    const lines = this.#text.split(/\r\n|\n|\r/)
    this.#text = lines.pop() ?? ''
    for (const line of lines) this.#readLine(line)
  }

  #readLine(line: string): void {
    if (line === '') {
      this.#dispatch()
      return
    }
    if (line.startsWith(':')) {
      this.commentCount += 1
      return
    }
    const colon = line.indexOf(':')
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'event') this.#name = value
    else if (field === 'data') this.#data.push(value)
    else if (field === 'id') this.#id = value
  }

  #dispatch(): void {
    if (this.#id !== undefined) this.lastEventId = this.#id
    if (this.#data.length > 0) {
      if (this.events.length >= keptEventsMax)
        throw new Error(`unable to keep the event; ${keptEventsMax} are kept already`)
      this.events.push({
        name: this.#name || 'message',
        data: JSON.parse(this.#data.join('\n')) as unknown,
        id: this.#id,
      })
    }
    this.#name = ''
    this.#data = []
    this.#id = undefined
  }
}
