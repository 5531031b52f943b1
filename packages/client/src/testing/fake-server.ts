/**
 * Small in-memory server that speaks the wire protocol over real sockets (HTTP, Socket.IO,
 * Server-Sent Events), with switches for faults. Used only by the tests of this package. Other
 * tests use the real server.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type Card,
  type CardKey,
  type Change,
  ChorusError,
  type Message,
  type PageMessage,
  type ReactionCount,
  type User,
} from '@chorus/protocol'
import { Server as SocketServer, type Socket } from 'socket.io'

export interface FakeConversation {
  readonly id: string
  readonly kind: 'direct' | 'group' | 'channel'
  name: string | null
  readonly members: Map<
    string,
    { role: 'owner' | 'member'; joinedSeq: number; readSeq: number; addedAt: number; markedAt: number }
  >
  readonly changes: { readonly change: Change; readonly position: number }[]
  readonly messages: Map<number, { message: Message; reactions: Map<string, Set<string>> }>
  /** Users who were removed from the conversation, by user id, with the seq of the removal. */
  readonly left: Map<string, { readonly seq: number; readonly position: number }>
}

interface Line {
  readonly userId: string
  readonly token: string
  readonly tell: (name: string, payload: unknown, cursor?: string) => void
  readonly close: () => void
  watched: readonly string[]
  /** True once the replay is complete. No live events are sent before the replay is complete. */
  isReady: boolean
}

type Handler = (request: IncomingMessage, body: Record<string, unknown>) => unknown

let lastId = 0
/** Returns a UUIDv7 with its own timestamp, so that ids sort in order of creation. */
export function createId(): string {
  lastId += 1
  const hex = (1_767_225_600_000 + lastId).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${lastId.toString(16).padStart(12, '0')}`
}

export class FakeServer {
  epoch = 'epoch1'
  readonly users = new Map<string, User>()
  readonly sessions = new Map<string, string>()
  readonly conversations = new Map<string, FakeConversation>()
  readonly lines = new Set<Line>()
  /** Received HTTP requests, each as `METHOD path`. */
  readonly requests: string[] = []
  /** ClientIds of all received attempts to send a message. */
  readonly attempts: string[] = []
  readonly cursors: (string | undefined)[] = []
  /** True when each change is followed by a checkpoint. False when no checkpoints are sent. */
  tellsCheckpoints = true
  /** Maximum number of changes that a resume replays. Beyond it, the resume sends `limited`. */
  replayMaxChanges = 10_000
  /**
   * Faults for the next `send-message` commands, one per attempt. `lose` stores the message and
   * sends no response.
   */
  sendFaults: ('lose' | ChorusError)[] = []
  /** Errors for the next edit, delete, react, read and live commands, one per attempt. */
  commandFaults: ChorusError[] = []
  /** Received edit, delete, react, read and live commands, each with its text. */
  readonly commands: { readonly event: string; readonly text: unknown }[] = []
  /**
   * Outdated `limited` entries by conversation id. A resume sends these instead of current ones, as
   * a server with a cache may.
   */
  readonly cachedEntries = new Map<string, ReturnType<FakeServer['limitedEntry']>>()
  /**
   * Faults for the next `create-conversation` commands, one per attempt. `lose` creates the
   * conversation and reports `unknown`.
   */
  createFaults: ('lose' | ChorusError)[] = []
  /**
   * True to act as a server of protocol version 1, which does not know the clientId of a
   * conversation.
   */
  isVersionOne = false
  /** True to switch to protocol version 1 after the next lost response. */
  isVersionOneAfterLoss = false
  /** Keys that `GET /v1/keys` returns. */
  cardKeys: CardKey[] = []
  /** Faults for the next acts, one per attempt. `lose` stores the act and sends no response. */
  actFaults: ('lose' | ChorusError)[] = []
  /** Received acts, in order. */
  readonly acts: Record<string, unknown>[] = []
  readonly #created = new Map<string, FakeConversation>()
  /** Number of coming changes that the server stores but sends to no client. */
  losses = 0
  isWebSocketRefused = false
  handshakeError: ChorusError | undefined
  readonly #actSeqs = new Map<unknown, number>()
  #position = 1
  #time = Date.parse('2026-01-01T00:00:00.000Z')
  #server: Server | undefined
  #io: SocketServer | undefined
  #port = 0

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy())
    })
    const io = new SocketServer(server, {
      path: '/socket.io',
      serveClient: false,
      transports: ['websocket'],
      pingInterval: 1_000,
      pingTimeout: 1_000,
      allowRequest: (_request, decide) => decide(null, !this.isWebSocketRefused),
    })
    io.use((socket, next) => {
      const token = tokenOf(socket.handshake.headers.cookie)
      const fault = this.handshakeError ?? (this.sessions.has(token) ? undefined : unauthenticated())
      if (fault === undefined) next()
      else next(Object.assign(new Error(fault.message), { data: fault.toBody() }))
    })
    io.on('connection', (socket) => this.#onSocket(socket))
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
    this.#io = io
  }

  /** Stops the server as `kill -9` would: closes every socket and keeps the stored data. */
  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    for (const line of [...this.lines]) line.close()
    this.lines.clear()
    await this.#io?.close()
    this.#server?.closeAllConnections()
    this.#io = undefined
    this.#server = undefined
  }

  cut(): void {
    for (const line of [...this.lines]) line.close()
  }

  tellAll(name: string, payload: unknown): void {
    for (const line of [...this.lines]) line.tell(name, payload)
  }

  addUser(handle: string): User {
    const user: User = { id: createId(), handle, name: handle.toUpperCase(), avatar: null, bot: false }
    this.users.set(user.id, user)
    return user
  }

  addConversation(kind: FakeConversation['kind'], name: string | null, members: readonly User[]): FakeConversation {
    const conversation: FakeConversation = {
      id: createId(),
      kind,
      name,
      members: new Map(),
      changes: [],
      messages: new Map(),
      left: new Map(),
    }
    this.conversations.set(conversation.id, conversation)
    const [owner] = members
    if (owner !== undefined) {
      const { id } = conversation
      this.append(conversation, { type: 'conversation.created', actor: owner.id, conversation: { id, kind, name } })
    }
    for (const user of members) this.join(conversation, user)
    return conversation
  }

  join(conversation: FakeConversation, user: User): void {
    const role = conversation.members.size === 0 ? 'owner' : 'member'
    const joinedSeq = this.top(conversation) + 1
    conversation.left.delete(user.id)
    conversation.members.set(user.id, { role, joinedSeq, readSeq: joinedSeq, addedAt: this.#position + 1, markedAt: 0 })
    for (const line of this.linesOf([user.id])) line.tell('conversation', this.limitedEntry(conversation, user.id))
    this.append(conversation, { type: 'member.joined', actor: user.id, user: user.id, role })
  }

  remove(conversation: FakeConversation, user: User): void {
    const readers = [...conversation.members.keys()]
    conversation.members.delete(user.id)
    const seq = this.append(
      conversation,
      { type: 'member.left', actor: user.id, user: user.id, role: 'member' },
      readers,
    )
    conversation.left.set(user.id, { seq, position: this.#position })
    for (const line of this.linesOf([user.id])) {
      line.tell('conversation', { conversation: conversation.id, left: true, seq, readSeq: 0, unread: 0 })
    }
  }

  send(conversation: FakeConversation, sender: User, text: string, more: Partial<Message> = {}): Message {
    const seq = this.top(conversation) + 1
    const message: Message = {
      conversation: conversation.id,
      seq,
      version: seq,
      clientId: createId(),
      sender: sender.id,
      text,
      replyTo: null,
      attachments: [],
      data: null,
      createdAt: this.#now(),
      editedAt: null,
      deletedAt: null,
      ...more,
    }
    conversation.messages.set(seq, { message, reactions: new Map() })
    this.append(conversation, { type: 'message.created', actor: sender.id, message })
    return message
  }

  top(conversation: FakeConversation): number {
    return conversation.changes.at(-1)?.change.seq ?? 0
  }

  texts(conversation: FakeConversation): readonly string[] {
    return [...conversation.messages.values()].map(({ message }) => message.text)
  }

  linesOf(users: readonly string[]): readonly Line[] {
    return [...this.lines].filter((line) => users.includes(line.userId) && line.isReady)
  }

  get cursor(): string {
    return `${this.epoch}-${this.#position}`
  }

  append(
    conversation: FakeConversation,
    fields: Readonly<Record<string, unknown>>,
    readers: readonly string[] = [...conversation.members.keys()],
  ): number {
    this.#position += 1
    const seq = this.top(conversation) + 1
    const change = { seq, at: this.#now(), ...fields } as unknown as Change
    conversation.changes.push({ change, position: this.#position })
    if (this.losses > 0) this.losses -= 1
    else {
      for (const line of this.linesOf(readers)) {
        line.tell('changes', { conversation: conversation.id, changes: [change] })
        if (this.tellsCheckpoints) line.tell('checkpoint', { cursor: this.cursor }, this.cursor)
      }
    }
    return seq
  }

  edit(conversation: FakeConversation, seq: number, text: string): number {
    return this.#touch(conversation, seq, 'message.edited', (message) => ({ ...message, text, editedAt: this.#now() }))
  }

  delete(conversation: FakeConversation, seq: number): number {
    conversation.messages.get(seq)?.reactions.clear()
    return this.#touch(conversation, seq, 'message.deleted', ({ card: _card, ...message }) => ({
      ...message,
      text: '',
      deletedAt: this.#now(),
    }))
  }

  react(conversation: FakeConversation, actor: string, seq: number, emoji: string, isAdding: boolean): number {
    const entry = conversation.messages.get(seq)
    if (entry === undefined || entry.message.deletedAt !== null) throw notFound()
    const those = entry.reactions.get(emoji) ?? new Set<string>()
    if (those.has(actor) === isAdding) return seq
    if (isAdding) those.add(actor)
    else those.delete(actor)
    entry.reactions.set(emoji, those)
    return this.append(conversation, {
      type: isAdding ? 'reaction.added' : 'reaction.removed',
      actor,
      target: seq,
      emoji,
    })
  }

  /** Gives a message this card, as a change by an API key does. */
  updateCard(conversation: FakeConversation, seq: number, card: Card): number {
    return this.#touch(conversation, seq, 'card.updated', (message) => ({ ...message, card }))
  }

  /** Takes an action of a card. The same clientId gets the first response. */
  act(conversation: FakeConversation, actor: string, request: Record<string, unknown>): number {
    const { seq: target, version, action, clientId } = request
    const first = this.#actSeqs.get(clientId)
    if (first !== undefined) return first
    const entry = conversation.messages.get(Number(target))
    const card = entry?.message.card
    if (entry === undefined || card === undefined) throw notFound()
    if (card.version !== version || card.acted !== null) {
      throw new ChorusError('stale', 'unable to act on the card; it has changed, see current', { current: { card } })
    }
    const seq = this.top(conversation) + 1
    this.#actSeqs.set(clientId, seq)
    entry.message = { ...entry.message, card: { ...card, acted: { seq, action: String(action), actor } } }
    return this.append(conversation, { type: 'card.acted', actor, target, action })
  }

  markRead(conversation: FakeConversation, userId: string, seq: number): number {
    const member = conversation.members.get(userId)
    if (member === undefined) throw notFound()
    member.readSeq = Math.max(member.readSeq, Math.min(seq, this.top(conversation)))
    this.#position += 1
    member.markedAt = this.#position
    const entry = this.#entry(conversation, userId)
    for (const line of this.linesOf([userId])) line.tell('conversation', entry)
    return member.readSeq
  }

  limitedEntry(conversation: FakeConversation, userId: string) {
    return {
      ...this.#entry(conversation, userId),
      limited: true,
      messages: this.page(conversation, userId, {}).messages,
    }
  }

  page(
    conversation: FakeConversation,
    userId: string,
    at: { before?: number; after?: number; around?: number; limit?: number },
  ) {
    const all = [...conversation.messages.values()].map(
      ({ message, reactions }): PageMessage => ({
        ...message,
        reactions: [...reactions].flatMap(([emoji, those]): ReactionCount[] =>
          those.size === 0 ? [] : [{ emoji, count: those.size, mine: those.has(userId) }],
        ),
      }),
    )
    const limit = at.limit ?? 50
    let low = Math.max(0, all.length - limit)
    let high = all.length
    if (at.before !== undefined) {
      high = all.filter(({ seq }) => seq < (at.before ?? 0)).length
      low = Math.max(0, high - limit)
    } else if (at.after !== undefined) {
      low = all.filter(({ seq }) => seq <= (at.after ?? 0)).length
      high = Math.min(all.length, low + limit)
    } else if (at.around !== undefined) {
      low = Math.max(0, all.filter(({ seq }) => seq < (at.around ?? 0)).length - Math.floor(limit / 2))
      high = Math.min(all.length, low + limit)
    }
    return {
      messages: all.slice(low, high),
      seq: this.top(conversation),
      hasBefore: low > 0,
      hasAfter: high < all.length,
    }
  }

  #touch(conversation: FakeConversation, seq: number, type: string, change: (message: Message) => Message): number {
    const entry = conversation.messages.get(seq)
    if (entry === undefined) throw notFound()
    entry.message = { ...change(entry.message), version: this.top(conversation) + 1 }
    return this.append(conversation, { type, actor: entry.message.sender, message: entry.message })
  }

  #now(): string {
    this.#time += 1_000
    return new Date(this.#time).toISOString()
  }

  #entry(conversation: FakeConversation, userId: string) {
    const readSeq = conversation.members.get(userId)?.readSeq ?? 0
    const unread = [...conversation.messages.values()].filter(
      ({ message }) => message.sender !== userId && message.seq > readSeq && message.deletedAt === null,
    ).length
    return { conversation: conversation.id, seq: this.top(conversation), readSeq, unread }
  }

  toConversation(conversation: FakeConversation, userId: string) {
    const { id, kind, name, members } = conversation
    const { seq, readSeq, unread } = this.#entry(conversation, userId)
    return {
      id,
      kind,
      name,
      seq,
      readSeq,
      unread,
      lastMessage: this.page(conversation, userId, { limit: 1 }).messages[0] ?? null,
      members: this.#members(conversation).slice(0, 5),
      memberCount: members.size,
      role: members.get(userId)?.role ?? null,
    }
  }

  #members(conversation: FakeConversation) {
    return [...conversation.members].map(([id, { role, joinedSeq, readSeq }]) => ({
      user: this.users.get(id),
      role,
      joinedSeq,
      readSeq,
    }))
  }

  /**
   * Returns the changes that a user missed since the cursor, or everything without a usable cursor.
   */
  sync(userId: string, cursor: string | undefined) {
    const position =
      cursor?.startsWith(`${this.epoch}-`) === true ? Number(cursor.slice(this.epoch.length + 1)) : undefined
    const isReset = cursor !== undefined && position === undefined
    const conversations = [...this.conversations.values()].flatMap((conversation) => {
      const member = conversation.members.get(userId)
      const left = conversation.left.get(userId)
      if (member === undefined) {
        if (left === undefined || position === undefined || left.position <= position) return []
        const changes = conversation.changes.map(({ change }) => change).filter(({ seq }) => seq === left.seq)
        return [{ conversation: conversation.id, changes, left: true, seq: left.seq, readSeq: 0, unread: 0 }]
      }
      if (position === undefined) {
        const { limited: _, ...entry } = this.limitedEntry(conversation, userId)
        return [{ ...entry, changes: [] }]
      }
      const changes = conversation.changes.filter((one) => one.position > position).map(({ change }) => change)
      const isLimited = member.addedAt > position || changes.length > this.replayMaxChanges
      if (isLimited) return [this.#limitedWithRest(conversation, userId)]
      if (changes.length === 0 && member.markedAt <= position) return []
      return [{ ...this.#entry(conversation, userId), changes }]
    })
    return { epoch: this.epoch, cursor: this.cursor, ...(isReset && { reset: true }), more: false, conversations }
  }

  /** Returns the newest page of a conversation, or an older cached page with the changes since. */
  #limitedWithRest(conversation: FakeConversation, userId: string) {
    const cached = this.cachedEntries.get(conversation.id)
    if (cached === undefined) return { ...this.limitedEntry(conversation, userId), changes: [] }
    const changes = conversation.changes.map(({ change }) => change).filter(({ seq }) => seq > cached.seq)
    return { ...cached, changes }
  }

  #open(line: Line, cursor: string | undefined): void {
    this.cursors.push(cursor)
    this.lines.add(line)
    const user = this.users.get(line.userId)
    const session = this.#session(line.token)
    if (cursor !== undefined) {
      const page = this.sync(line.userId, cursor)
      if (page.reset === true) line.tell('reset', {})
      else {
        for (const { changes, ...entry } of page.conversations) {
          const member = this.conversations.get(entry.conversation)?.members.get(line.userId)
          const isMarked = (member?.markedAt ?? 0) > Number(cursor.slice(this.epoch.length + 1))
          if ('limited' in entry || 'left' in entry || isMarked) line.tell('conversation', entry)
          for (let start = 0; start < changes.length; start += 200) {
            line.tell('changes', { conversation: entry.conversation, changes: changes.slice(start, start + 200) })
          }
        }
      }
    }
    line.isReady = true
    const resumed = cursor?.startsWith(`${this.epoch}-`) === true
    const ready = { user, session, server: 'fake', epoch: this.epoch, cursor: this.cursor, resumed }
    line.tell('ready', ready, this.cursor)
  }

  #session(token: string) {
    const at = '2026-01-01T00:00:00.000Z'
    return { id: token, createdAt: at, lastUsedAt: at, userAgent: null, current: true }
  }

  #onSocket(socket: Socket): void {
    const token = tokenOf(socket.handshake.headers.cookie)
    const line: Line = {
      userId: this.sessions.get(token) ?? '',
      token,
      tell: (name, payload) => {
        socket.emit(name, payload)
      },
      close: () => socket.conn.close(),
      watched: [],
      isReady: false,
    }
    socket.on('disconnect', () => this.lines.delete(line))
    socket.onAny((event: string, payload: Record<string, unknown>, acknowledge?: (answer: unknown) => void) => {
      try {
        const result = this.#command(line.userId, event, payload)
        if (result !== undefined) acknowledge?.({ ok: true, ...(result as object) })
      } catch (error) {
        acknowledge?.({ ok: false, error: toError(error).toBody() })
      }
    })
    const { cursor } = socket.handshake.auth as { cursor?: string }
    this.#open(line, cursor)
  }

  /** Runs a command. Returns undefined to send no response. */
  #command(userId: string, event: string, payload: Record<string, unknown>): unknown {
    const conversation = this.conversations.get(String(payload['conversation']))
    const seq = Number(payload['seq'])
    if (event === 'watch') {
      return { presence: (payload['users'] as string[]).map((user) => ({ user, status: 'online', lastSeen: null })) }
    }
    if (event === 'status') return {}
    if (event === 'sync') return this.sync(userId, payload['cursor'] as string | undefined)
    if (event === 'send') {
      const { clientId, text } = payload as { clientId: string; text: string }
      this.attempts.push(clientId)
      const fault = this.sendFaults.shift()
      if (fault !== undefined && fault !== 'lose') throw fault
      if (conversation?.members.has(userId) !== true) throw notFound()
      const known = [...conversation.messages.values()].find(({ message }) => message.clientId === clientId)?.message
      const sender = this.users.get(userId)
      if (sender === undefined) throw unauthenticated()
      const message = known ?? this.send(conversation, sender, text, { clientId })
      if (fault === 'lose') return undefined
      return { seq: message.seq, createdAt: message.createdAt, ...(known && { duplicate: true }), message }
    }
    if (conversation?.members.has(userId) !== true) throw notFound()
    this.commands.push({ event, text: payload['text'] })
    const refusal = this.commandFaults.shift()
    if (refusal !== undefined) throw refusal
    switch (event) {
      case 'act': {
        this.acts.push(payload)
        const fault = this.actFaults.shift()
        if (fault !== undefined && fault !== 'lose') throw fault
        const done = this.act(conversation, userId, payload)
        return fault === 'lose' ? undefined : { seq: done }
      }
      case 'edit':
        return { seq: this.edit(conversation, seq, String(payload['text'])) }
      case 'delete':
        return { seq: this.delete(conversation, seq) }
      case 'react':
      case 'unreact':
        return { seq: this.react(conversation, userId, seq, String(payload['emoji']), event === 'react') }
      case 'read':
        return { readSeq: this.markRead(conversation, userId, seq) }
      case 'live': {
        const at = this.#now()
        const expiresAt = new Date(Date.parse(at) + Number(payload['ttlMs'])).toISOString()
        const value = {
          conversation: conversation.id,
          key: payload['key'],
          user: userId,
          value: payload['value'],
          at,
          expiresAt,
        }
        for (const line of this.linesOf([...conversation.members.keys()])) line.tell('live', [value])
        return {}
      }
      default:
        throw new ChorusError('invalid', `unable to ${event}; there is no such command`)
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url)
    if (url.pathname.startsWith('/socket.io')) return
    this.requests.push(`${request.method ?? ''} ${url.pathname}${url.search}`)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString()
    try {
      const body = { ...Object.fromEntries(url.searchParams), ...(text === '' ? {} : (JSON.parse(text) as object)) }
      if (url.pathname === '/v1/events') {
        this.#stream(request, response, url.searchParams.get('cursor') ?? undefined)
        return
      }
      const result = this.#route(request.method ?? 'GET', url.pathname)(request, body)
      if (result === undefined) return
      const cookie =
        typeof result === 'object' && result !== null && 'cookie' in result ? String(result.cookie) : undefined
      response.writeHead(result === null ? 204 : 200, {
        'content-type': 'application/json',
        ...(cookie !== undefined && { 'set-cookie': `chorus_session=${cookie}; Path=/; HttpOnly; SameSite=Lax` }),
      })
      response.end(result === null ? undefined : JSON.stringify(result))
    } catch (error) {
      const problem = toError(error)
      response.writeHead(problem.status, { 'content-type': 'application/problem+json' })
      response.end(JSON.stringify(problem.toProblem()))
    }
  }

  #route(method: string, path: string): Handler {
    const [, , first = '', ...rest] = path.split('/').map(decodeURIComponent)
    return first === 'conversations' ? this.#conversationRoute(method, rest) : this.#accountRoute(method, first)
  }

  #userOf(request: IncomingMessage): string {
    const userId = this.sessions.get(tokenOf(request.headers.cookie))
    if (userId === undefined) throw unauthenticated()
    return userId
  }

  #accountRoute(method: string, name: string): Handler {
    switch (`${method} ${name}`) {
      case 'POST users':
        return (_request, body) => {
          const handle = String(body['handle'])
          if (this.#findUser(handle) !== undefined) {
            throw new ChorusError('conflict', 'unable to sign up; the handle is taken')
          }
          return this.#signIn(this.addUser(handle))
        }
      case 'POST session':
        return (_request, body) => {
          const user = this.#findUser(String(body['handle']))
          if (user === undefined) throw unauthenticated()
          return this.#signIn(user)
        }
      case 'GET session':
        return (request) => ({
          user: this.users.get(this.#userOf(request)),
          session: this.#session(tokenOf(request.headers.cookie)),
        })
      case 'DELETE session':
        return (request) => {
          this.revoke(tokenOf(request.headers.cookie))
          return null
        }
      case 'GET users':
        return (_request, body) => {
          const ids = String(body['ids']).split(',')
          return {
            users: [...this.users.values()].filter(
              (user) => ids.includes(user.id) || user.handle.startsWith(String(body['q'])),
            ),
          }
        }
      case 'POST presence':
        return (request, body) => this.#command(this.#userOf(request), 'watch', { conversation: '', ...body })
      case 'GET keys':
        return () => ({ keys: this.cardKeys })
      case 'GET sync':
        return (request, body) => this.sync(this.#userOf(request), body['cursor'] as string | undefined)
      default:
        throw notFound()
    }
  }

  #findUser(handle: string): User | undefined {
    return [...this.users.values()].find((user) => user.handle === handle)
  }

  #signIn(user: User): unknown {
    const token = createId()
    this.sessions.set(token, user.id)
    return { user, session: this.#session(token), cookie: token }
  }

  #conversationRoute(method: string, [id = '', part = '', third = '', fourth = '', fifth = '']: string[]): Handler {
    const mine = (request: IncomingMessage): FakeConversation => {
      const conversation = this.conversations.get(id)
      if (conversation?.members.has(this.#userOf(request)) !== true) throw notFound()
      return conversation
    }
    const command =
      (event: string, more: Record<string, unknown> = {}): Handler =>
      (request, body) =>
        this.#command(this.#userOf(request), event, { conversation: id, ...body, ...more })
    switch (`${method} ${part}`) {
      case 'GET ':
        if (id !== '') return (request) => ({ conversation: this.toConversation(mine(request), this.#userOf(request)) })
        return (request) => ({
          conversations: [...this.conversations.values()]
            .filter(({ members }) => members.has(this.#userOf(request)))
            .map((conversation) => this.toConversation(conversation, this.#userOf(request))),
        })
      case 'POST ':
        return (request, body) => this.#create(this.#userOf(request), body)
      case 'GET members':
        return (request) => ({ members: this.#members(mine(request)) })
      case 'GET live':
        return () => ({ values: [] })
      case 'GET changes':
        return (request, body) => {
          const conversation = mine(request)
          const all = conversation.changes.map(({ change }) => change).filter(({ seq }) => seq > Number(body['after']))
          const limit = Number(body['limit'] ?? 50)
          return { changes: all.slice(0, limit), seq: this.top(conversation), more: all.length > limit }
        }
      case 'GET messages':
        return (request, body) => this.#read(mine(request), this.#userOf(request), third, body)
      case 'POST messages':
        return fourth === 'actions' ? command('act', { seq: Number(third) }) : command('send')
      case 'PATCH messages':
        return command('edit', { seq: Number(third) })
      case 'DELETE messages':
        return command(fourth === '' ? 'delete' : 'unreact', { seq: Number(third), emoji: fifth })
      case 'PUT messages':
        return command('react', { seq: Number(third), emoji: fifth })
      case 'PUT read':
        return command('read')
      case 'PUT live':
        return command('live', { key: third })
      case 'PUT members':
        return (request, body) => {
          const user = this.users.get(third === 'me' ? this.#userOf(request) : third)
          const conversation = this.conversations.get(id)
          if (conversation === undefined || user === undefined) throw notFound()
          this.join(conversation, user)
          return { member: { user, role: body['role'] ?? 'member', joinedSeq: this.top(conversation), readSeq: 0 } }
        }
      case 'DELETE members':
        return (request) => {
          const user = this.users.get(third === 'me' ? this.#userOf(request) : third)
          if (user !== undefined) this.remove(mine(request), user)
          return null
        }
      default:
        throw notFound()
    }
  }

  #create(me: string, body: Record<string, unknown>): unknown {
    const clientId = body['clientId']
    if (this.isVersionOne && clientId !== undefined) {
      throw new ChorusError('invalid', 'unable to create conversation; clientId is not known')
    }
    const fault = this.createFaults.shift()
    if (fault !== undefined && fault !== 'lose') throw fault
    const users = [me, ...(body['members'] as string[])].flatMap((one) => this.users.get(one) ?? [])
    const name = typeof body['name'] === 'string' ? body['name'] : null
    const key = `${me} ${String(clientId)}`
    const known = clientId === undefined ? undefined : this.#created.get(key)
    const conversation = known ?? this.addConversation(body['kind'] as 'group', name, users)
    this.#created.set(key, conversation)
    if (fault === 'lose') this.isVersionOne ||= this.isVersionOneAfterLoss
    if (fault === 'lose') throw new ChorusError('unknown', 'unable to create conversation; the answer was lost')
    return { conversation: this.toConversation(conversation, me), ...(known && { duplicate: true }) }
  }

  /** Reads one message if its seq is given, and a page otherwise. */
  #read(conversation: FakeConversation, me: string, seq: string, body: Record<string, unknown>): unknown {
    if (seq === '') {
      const at = Object.fromEntries(Object.entries(body).map(([name, value]) => [name, Number(value)]))
      return this.page(conversation, me, at)
    }
    const { messages } = this.page(conversation, me, { limit: 100_000 })
    const message = messages.find((one) => one.seq === Number(seq))
    if (message === undefined) throw notFound()
    return { message }
  }

  revoke(token: string): void {
    this.sessions.delete(token)
    for (const line of [...this.lines].filter((one) => one.token === token)) {
      line.tell('closing', { code: 'revoked', message: 'unable to go on; the session was revoked', retry: 'never' })
      setImmediate(line.close)
    }
  }

  #stream(request: IncomingMessage, response: ServerResponse, cursor: string | undefined): void {
    const token = tokenOf(request.headers.cookie)
    const userId = this.sessions.get(token)
    if (userId === undefined) throw unauthenticated()
    if (this.handshakeError !== undefined) throw this.handshakeError
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const line: Line = {
      userId,
      token,
      tell: (name, payload, id) => {
        response.write(`event: ${name}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(payload)}\n\n`)
      },
      close: () => response.destroy(),
      watched: [],
      isReady: false,
    }
    response.write(': hello\n\n')
    response.on('close', () => this.lines.delete(line))
    this.#open(line, cursor)
  }
}

function tokenOf(cookie: string | undefined): string {
  return /chorus_session=([^;]+)/.exec(cookie ?? '')?.[1] ?? ''
}

function unauthenticated(): ChorusError {
  return new ChorusError('unauthenticated', 'unable to answer; there is no valid session')
}

function notFound(): ChorusError {
  return new ChorusError('not-found', 'unable to answer; there is no such thing')
}

function toError(error: unknown): ChorusError {
  return error instanceof ChorusError ? error : new ChorusError('unknown', `unable to answer; ${String(error)}`)
}
