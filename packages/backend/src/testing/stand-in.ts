/**
 * A stand-in for the server API, for tests of the client's own logic. It records posts as the server
 * does: a repeated `clientId` of one sender in one conversation gets the first answer. It can fail,
 * hang and refuse on request.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export interface RecordedRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: unknown
}

export interface RecordedPost {
  readonly conversation: string
  readonly clientId: string
  readonly text: string | undefined
  readonly card: unknown
  readonly as: string | undefined
}

/**
 * Fault for one request. `lose`: handles the request, then breaks the connection. `hang`: handles
 * it and never answers. `hold`: handles it and answers later. `status`: answers without handling it.
 */
export type Fault =
  | { readonly kind: 'lose' }
  | { readonly kind: 'hang' }
  | { readonly kind: 'hold'; readonly until: Promise<unknown> }
  | { readonly kind: 'break' }
  | {
      readonly kind: 'status'
      readonly status: number
      readonly body?: unknown
      readonly headers?: Readonly<Record<string, string>>
    }

interface Answer {
  readonly status: number
  readonly body?: unknown
}

export function problem(code: string, status: number, more: object = {}): Fault {
  const retry = ['rate-limited', 'unavailable', 'unknown'].includes(code) ? 'later' : 'never'
  return { kind: 'status', status, body: { code, status, retry, detail: `unable to do this; ${code}`, ...more } }
}

const postPath = /^\/v1\/admin\/conversations\/([^/]+)\/messages$/
const subjectPath = /^\/v1\/admin\/subjects\/([^/]+)\/([^/]+)\/conversation$/

export class StandIn {
  readonly requests: RecordedRequest[] = []
  /** Stored messages, in the order of the log. */
  readonly posts: RecordedPost[] = []
  /** Number of requests to store a message, repetitions included. */
  attempts = 0
  /** Conversations by `type/id` of their subject. */
  readonly subjects = new Map<string, string>()
  /** Returns the fault of a request. */
  fault: (request: RecordedRequest) => Fault | undefined = () => undefined
  /** Answers all other paths. */
  handle: (request: RecordedRequest) => Answer = () => ({ status: 404, body: { code: 'not-found', retry: 'never' } })
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #known = new Set<string>()

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response))
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
    return this
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  textsOf(conversation: string): (string | undefined)[] {
    return this.posts.filter((post) => post.conversation === conversation).map(({ text }) => text)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString()
    const recorded: RecordedRequest = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body: text === '' ? undefined : JSON.parse(text),
    }
    this.requests.push(recorded)
    const fault = this.fault(recorded)
    if (fault?.kind === 'break') return void response.destroy()
    if (fault?.kind === 'status') {
      const body = typeof fault.body === 'string' ? fault.body : JSON.stringify(fault.body ?? '')
      return void response.writeHead(fault.status, { ...fault.headers }).end(body)
    }
    const answer = this.#answer(recorded)
    if (fault?.kind === 'lose') return void response.destroy()
    if (fault?.kind === 'hang') return
    if (fault?.kind === 'hold') await fault.until
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body))
  }

  #answer(request: RecordedRequest): Answer {
    const [, conversation] = (request.method === 'POST' && postPath.exec(request.path)) || []
    if (conversation !== undefined) return this.#post(conversation, request.body as RecordedPost)
    const [, type, id] = (request.method === 'GET' && subjectPath.exec(request.path)) || []
    if (type !== undefined && id !== undefined) {
      const found = this.subjects.get(`${type}/${decodeURIComponent(id)}`)
      return found === undefined
        ? { status: 404, body: { code: 'not-found', retry: 'never', detail: 'unable to find subject; it is unknown' } }
        : { status: 200, body: { conversation: { id: found } } }
    }
    return this.handle(request)
  }

  #post(conversation: string, { clientId, text, card, as }: RecordedPost): Answer {
    this.attempts += 1
    const key = `${as ?? ''} ${conversation} ${clientId}`
    const isKnown = this.#known.has(key)
    if (!isKnown) {
      this.#known.add(key)
      this.posts.push({ conversation, clientId, text, card, as })
    }
    return { status: isKnown ? 200 : 201, body: { message: { conversation, clientId, text } } }
  }
}
