/**
 * A user who uses only HTTP: signs up, keeps the cookie, and calls routes. It checks no schema, so
 * it can also send invalid requests. Each call opens a new connection, so a restarted server causes
 * no failure.
 */
import { randomUUID } from 'node:crypto'
import { request } from 'node:http'
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'

const callTimeoutMs = 20_000
const answerMaxBytes = 8 * 1024 * 1024
const logPageMax = 200

/** Fields of a change that tests read. */
interface ReadChange {
  readonly seq: number
  readonly type: string
  readonly message?: { readonly clientId: string; readonly text: string; readonly sender: string }
}

export interface HttpCallOptions {
  readonly headers?: OutgoingHttpHeaders
  /** Request body that is sent unchanged, instead of JSON. */
  readonly rawBody?: string | Buffer
  readonly timeoutMs?: number
}

export interface HttpAnswer<Body = unknown> {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Parsed response body if it is JSON, otherwise its text. Undefined when it is empty. */
  readonly body: Body
}

export interface SignUpOptions {
  readonly handle?: string
  readonly password?: string
  readonly name?: string
}

interface SignedUpUser {
  readonly id: string
  readonly handle: string
  readonly name: string
  readonly avatar: string | null
  readonly bot: boolean
}

export class HttpUser {
  readonly handle: string
  readonly password: string
  readonly #url: () => string
  #cookie: string | undefined
  #user: SignedUpUser | undefined

  private constructor(url: string | (() => string), handle: string, password: string) {
    this.#url = typeof url === 'string' ? () => url : url
    this.handle = handle
    this.password = password
  }

  /** Returns a user without an account. */
  static stranger(url: string | (() => string)): HttpUser {
    return new HttpUser(url, makeHandle('stranger'), 'a long enough password')
  }

  /** Creates an account with a unique handle and signs in. */
  static async signUp(
    url: string | (() => string),
    { handle = makeHandle('user'), password = 'a long enough password', name }: SignUpOptions = {},
  ): Promise<HttpUser> {
    const user = new HttpUser(url, handle, password)
    const { body } = await user.expect<{ user: SignedUpUser }>(201, 'POST', '/v1/users', {
      handle,
      password,
      name: name ?? handle,
    })
    user.#user = body.user
    return user
  }

  /** Signs in to an existing account, as another device of the same user. */
  static async signIn(url: string | (() => string), handle: string, password: string): Promise<HttpUser> {
    const user = new HttpUser(url, handle, password)
    const { body } = await user.expect<{ user: SignedUpUser }>(200, 'POST', '/v1/session', { handle, password })
    user.#user = body.user
    return user
  }

  get url(): string {
    return this.#url()
  }

  get id(): string {
    if (this.#user === undefined) throw new Error('unable to name the user; nobody has signed in')
    return this.#user.id
  }

  /** Value of the `cookie` header. Undefined before the user has signed in. */
  get cookie(): string | undefined {
    return this.#cookie
  }

  set cookie(cookie: string | undefined) {
    this.#cookie = cookie
  }

  /** Sends a request and returns its response, whatever the status. */
  call<Body = unknown>(
    method: string,
    path: string,
    body?: unknown,
    { headers = {}, rawBody, timeoutMs = callTimeoutMs }: HttpCallOptions = {},
  ): Promise<HttpAnswer<Body>> {
    const payload = rawBody ?? (body === undefined ? undefined : JSON.stringify(body))
    return new Promise((resolve, reject) => {
      const outgoing = request(
        new URL(path, this.#url()),
        {
          method,
          agent: false,
          headers: {
            ...(this.#cookie !== undefined && { cookie: this.#cookie }),
            ...(payload !== undefined && {
              'content-type': 'application/json',
              ...(headers['transfer-encoding'] === undefined && { 'content-length': Buffer.byteLength(payload) }),
            }),
            ...headers,
          },
          signal: AbortSignal.timeout(timeoutMs),
        },
        (incoming) => {
          const chunks: Buffer[] = []
          let bytes = 0
          incoming.on('data', (chunk: Buffer) => {
            bytes += chunk.length
            if (bytes > answerMaxBytes)
              incoming.destroy(new Error(`unable to read the answer; more than ${answerMaxBytes} bytes`))
            else chunks.push(chunk)
          })
          incoming.once('error', reject)
          incoming.once('end', () => {
            this.#keepCookie(incoming.headers['set-cookie'])
            const text = Buffer.concat(chunks).toString('utf8')
            const isJson = /json/.test(incoming.headers['content-type'] ?? '')
            resolve({
              status: incoming.statusCode ?? 0,
              headers: incoming.headers,
              body: (text === '' ? undefined : isJson ? JSON.parse(text) : text) as Body,
            })
          })
        },
      )
      outgoing.once('error', reject)
      outgoing.end(payload)
    })
  }

  /** Sends a request. Rejects if the response does not have the expected status. */
  async expect<Body = unknown>(
    status: number | readonly number[],
    method: string,
    path: string,
    body?: unknown,
    options?: HttpCallOptions,
  ): Promise<HttpAnswer<Body>> {
    const answer = await this.call<Body>(method, path, body, options)
    const expected = typeof status === 'number' ? [status] : status
    if (expected.includes(answer.status)) return answer
    throw new Error(
      `unable to ${method} ${path}; expected ${expected.join(' or ')}, got ${answer.status} ${JSON.stringify(answer.body)}`,
    )
  }

  /** Creates a conversation and returns its id. */
  async createConversation(
    kind: 'direct' | 'group' | 'channel',
    members: readonly string[] = [],
    name?: string,
  ): Promise<string> {
    const { body } = await this.expect<{ conversation: { id: string } }>([200, 201], 'POST', '/v1/conversations', {
      kind,
      ...(name !== undefined ? { name } : kind === 'channel' ? { name: `channel ${randomUUID().slice(0, 8)}` } : {}),
      ...(members.length > 0 && { members }),
    })
    return body.conversation.id
  }

  /** Sends a message and returns its seq. */
  async send(
    conversation: string,
    text: string,
    clientId: string = randomUUID(),
  ): Promise<{ seq: number; duplicate: boolean }> {
    const { body } = await this.expect<{ message: { seq: number }; duplicate?: true }>(
      [200, 201],
      'POST',
      `/v1/conversations/${conversation}/messages`,
      { clientId, text },
    )
    return { seq: body.message.seq, duplicate: body.duplicate === true }
  }

  /** Reads all changes of a conversation page by page. The user must be a member. */
  async readLog(conversation: string): Promise<ReadChange[]> {
    const log: ReadChange[] = []
    for (let more = true; more; ) {
      const { body } = await this.expect<{ changes: ReadChange[]; more: boolean }>(
        200,
        'GET',
        `/v1/conversations/${conversation}/changes?after=${log.at(-1)?.seq ?? 0}&limit=${logPageMax}`,
      )
      log.push(...body.changes)
      more = body.more
    }
    return log
  }

  #keepCookie(setCookies: readonly string[] | undefined): void {
    for (const setCookie of setCookies ?? []) {
      const [pair = '', ...attributes] = setCookie.split(';')
      if (!/^(__Host-)?chorus_session=/.test(pair)) continue
      const expires = attributes.find((attribute) => /^\s*expires=/i.test(attribute))
      const isGone =
        pair.endsWith('=') ||
        (expires !== undefined && Date.parse(expires.slice(expires.indexOf('=') + 1)) < Date.now())
      this.#cookie = isGone ? undefined : pair
    }
  }
}

function makeHandle(prefix: string): string {
  return `${prefix}_${randomUUID().replaceAll('-', '').slice(0, 12)}`
}
