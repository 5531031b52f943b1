/**
 * Entry of the SDK: connects the parts and implements the public `ChatClient`. The session and
 * everything that belongs to the signed-in user are in `session/`.
 */
import {
  ChorusError,
  type Conversation,
  type Role,
  type ServerEvent,
  type Session as ServerSession,
  type User,
} from '@chorus/protocol'
import type { Transport } from './connection/transport.ts'
import type { ChangeNotice, ChatClient, ChatClientOptions, DataState, TransportName } from './model/api.ts'
import type { ChatConversation, ConversationSummary } from './model/api-conversation.ts'
import type { OutboxItem } from './model/api-messages.ts'
import type { StorageState } from './model/store.ts'
import { Connection } from './connection/connection.ts'
import { createDeviceSignals } from './connection/device-signals.ts'
import { createRequests, type Requests } from './connection/requests.ts'
import { createSocketIoTransport } from './connection/transport-socket-io.ts'
import { createSseTransport } from './connection/transport-sse.ts'
import { createConversation } from './conversation/create-conversation.ts'
import { createEmptyConversation } from './conversation/empty-conversation.ts'
import { PresenceSubscriptions } from './users/presence.ts'
import { UserCache } from './users/users.ts'
import { CookieJar } from './wire/cookie-jar.ts'
import { createHttpApi, type HttpApi } from './wire/http-api.ts'
import { parseServerUrl } from './wire/server-url.ts'
import { LazyTokens } from './session/lazy-tokens.ts'
import { Session } from './session/session.ts'
import { SignedIn } from './session/signed-in.ts'
import { systemClock } from './support/clock.ts'
import { guarded, logError } from './support/guarded.ts'
import { type Cell, createCell, createSwitch, derive, type Switch } from './support/observable.ts'
import { createMemoryStore } from './store/store-memory.ts'

/**
 * Creates a client. It does nothing until `start()` is called. Throws `invalid` when `url` is not
 * an http or https address, or has a query, a fragment or credentials.
 */
export function createChatClient(options: ChatClientOptions): ChatClient {
  return new Client(options)
}

class Client implements ChatClient {
  readonly #store
  readonly #onError: (error: unknown) => void
  readonly #api: HttpApi
  readonly #requests: Requests
  readonly #connection: Connection
  readonly #session: Session
  readonly #tokens: LazyTokens | undefined
  readonly #storage: Cell<StorageState>
  readonly #data: Switch<DataState>
  readonly #list: Switch<readonly ConversationSummary[]>
  readonly #waiting: Switch<readonly OutboxItem[]>
  readonly #changeCallbacks = new Set<(notice: ChangeNotice) => void>()
  readonly #limitedCallbacks = new Set<(notice: { readonly conversation: string; readonly seq: number }) => void>()
  readonly users: UserCache
  readonly presence: PresenceSubscriptions
  readonly unread

  constructor(options: ChatClientOptions) {
    const { userAgent, clock = systemClock, store = createMemoryStore(), transports = ['socket-io', 'sse'] } = options
    const url = parseServerUrl(options.url)
    this.#store = store
    const tell = options.onError ?? logError
    const onError = (error: unknown): void => guarded(() => tell(error), logError)
    this.#onError = onError
    this.#storage = createCell<StorageState>(store.storage?.get() ?? 'persistent', { onError })
    store.storage?.subscribe(() => this.#onStorage())
    this.#data = createSwitch<DataState>('empty', { onError })
    this.#list = createSwitch<readonly ConversationSummary[]>([], { onError })
    this.#waiting = createSwitch<readonly OutboxItem[]>([], { onError })
    const { getToken, fetch: send = (input, init) => globalThis.fetch(input, init) } = options
    const tokens =
      getToken && new LazyTokens({ getToken, fetch: send, store, clock, connection: () => this.#connection })
    this.#tokens = tokens
    const jar = new CookieJar({}, () => this.#session.keepCookies())
    const http = createHttpApi({
      url,
      clock,
      fetch: tokens === undefined ? send : async (input, init) => (await tokens.load()).fetch(input, init),
      cookieJar: jar,
      ...(userAgent !== undefined && { userAgent }),
    })
    const toTransport = (name: TransportName): Transport => {
      switch (name) {
        case 'socket-io':
          return createSocketIoTransport({
            url,
            tokens: tokens && (() => tokens.load()),
            headers: () => ({ ...jar.headers, ...(userAgent !== undefined && { 'user-agent': userAgent }) }),
          })
        case 'sse':
          return createSseTransport({ api: http, clock })
      }
    }
    const connection = new Connection({
      transports: transports.map(toTransport),
      clock,
      signals: createDeviceSignals(clock),
      prepare: (isAfterFailure) => this.#session.prepare(isAfterFailure),
      mayRenew: () => tokens?.loaded?.isRefused === false,
      cursor: () => this.#session.signedIn?.replica.cursor,
      onEvent: (event) => this.#onEvent(event),
      onError,
    })
    this.#connection = connection
    connection.status.subscribe(() => this.#onStatus())
    const requests = createRequests(http, connection, {
      random: () => clock.random(),
      after: (delayMs, run) => (this.#session.signedIn?.life ?? this.#session.run).waits.after(delayMs, run),
    })
    this.#requests = requests
    this.#api = { call: (name, request) => requests.api(this.#session.run).call(name, request) }
    const users = new UserCache(this.#api, clock, { isActive: () => this.#session.signedIn !== undefined, onError })
    this.users = users
    const presence = new PresenceSubscriptions({
      request: (name, request) => requests.sender(this.#session.run)(name, request),
      clock,
      isConnected: () => connection.isUsable,
      isFollowed: () => connection.transportName === 'socket-io',
      onError,
    })
    this.presence = presence
    const parts = { store, requests, connection, users, presence, onError }
    this.#session = new Session({
      ...parts,
      clock,
      jar,
      tokens,
      open: (user, life) =>
        new SignedIn({
          ...parts,
          user,
          life,
          onChange: (notice) => this.#report(this.#changeCallbacks, notice),
          onLimited: (notice) => this.#report(this.#limitedCallbacks, notice),
        }),
      show: (signedIn) => this.#show(signedIn),
    })
    this.unread = derive(this.#list, (conversations) => conversations.reduce((sum, { unread }) => sum + unread, 0))
  }

  get session() {
    return this.#session.state
  }

  get connection() {
    return this.#connection.status
  }

  get data() {
    return this.#data
  }

  get storage() {
    return this.#storage
  }

  get conversations() {
    return this.#list
  }

  get outbox() {
    return this.#waiting
  }

  start(): Promise<void> {
    return this.#session.start()
  }

  stop(): Promise<void> {
    return this.#session.stop()
  }

  signUp(request: { readonly handle: string; readonly password: string; readonly name: string }): Promise<User> {
    return this.#session.signUp(request)
  }

  signIn(request: { readonly handle: string; readonly password: string }): Promise<User> {
    return this.#session.signIn(request)
  }

  signOut(): Promise<void> {
    return this.#session.signOut()
  }

  async sessions(): Promise<readonly ServerSession[]> {
    return (await this.#api.call('list-sessions', {})).sessions
  }

  async revokeSession(id: string): Promise<void> {
    await this.#api.call('revoke-session', { id })
  }

  async updateProfile(patch: { readonly handle?: string; readonly name?: string; readonly avatar?: string | null }) {
    const { signedIn } = this.#session
    const { user } = await this.#api.call('update-profile', patch)
    // Another user may have signed in during the request. Do not overwrite their session.
    if (signedIn !== undefined && signedIn === this.#session.signedIn) await this.#session.update(user)
    return user
  }

  async sessionData() {
    return (await this.#api.call('get-session-data', {})).data
  }

  async updateSessionData(patch: Parameters<ChatClient['updateSessionData']>[0]) {
    return (await this.#api.call('update-session-data', { data: patch })).data
  }

  conversation(id: string): ChatConversation {
    return this.#session.signedIn?.conversation(id) ?? createEmptyConversation(id)
  }

  async createConversation(request: Parameters<ChatClient['createConversation']>[0]): Promise<ConversationSummary> {
    const { replica } = this.#requireSignedIn('create conversation')
    const { members = [], ...rest } = request
    const { run } = this.#session
    return replica.upsert(await createConversation(this.#requests.api(run), run, { ...rest, members: [...members] }))
  }

  async findUsers(q: string, limit = 20): Promise<readonly User[]> {
    const { users } = await this.#api.call('find-users', { q, limit })
    this.users.put(users)
    return users
  }

  async findChannels(q: string, limit = 20): Promise<readonly Conversation[]> {
    return (await this.#api.call('find-channels', { q, limit })).conversations
  }

  async joinChannel(id: string): Promise<void> {
    const { replica } = this.#requireSignedIn('join channel')
    await this.#api.call('put-member', { conversation: id, user: 'me' })
    const { conversation } = await this.#api.call('get-conversation', { conversation: id })
    replica.upsert(conversation)
  }

  async leave(id: string): Promise<void> {
    const { replica } = this.#requireSignedIn('leave conversation')
    await this.#api.call('remove-member', { conversation: id, user: 'me' })
    replica.remove(id)
  }

  addMember(conversation: string, user: string, role?: Role) {
    return this.conversation(conversation).members.add(user, role)
  }

  removeMember(conversation: string, user: string): Promise<void> {
    return this.conversation(conversation).members.remove(user)
  }

  setRole(conversation: string, user: string, role: Role) {
    return this.conversation(conversation).members.setRole(user, role)
  }

  async rename(conversation: string, name: string): Promise<void> {
    const { replica } = this.#requireSignedIn('rename conversation')
    replica.upsert((await this.#api.call('update-conversation', { conversation, name })).conversation)
  }

  sync(cursor?: string) {
    return this.#api.call('sync', cursor === undefined ? {} : { cursor })
  }

  onChange(callback: (change: ChangeNotice) => void): () => void {
    this.#changeCallbacks.add(callback)
    return () => this.#changeCallbacks.delete(callback)
  }

  onLimited(callback: (notice: { readonly conversation: string; readonly seq: number }) => void): () => void {
    this.#limitedCallbacks.add(callback)
    return () => this.#limitedCallbacks.delete(callback)
  }

  #report<Notice>(callbacks: ReadonlySet<(notice: Notice) => void>, notice: Notice): void {
    for (const callback of callbacks) guarded(() => callback(notice), this.#onError)
  }

  #requireSignedIn(doing: string): SignedIn {
    const { signedIn } = this.#session
    if (signedIn === undefined) throw new ChorusError('unauthenticated', `unable to ${doing}; no user is signed in`)
    return signedIn
  }

  #show(signedIn: SignedIn | undefined): void {
    if (signedIn === undefined) this.presence.stop()
    this.#data.point(signedIn?.replica.data)
    this.#list.point(signedIn?.replica.conversations)
    this.#waiting.point(signedIn?.outbox.items)
  }

  #onEvent(event: ServerEvent): void {
    const { signedIn } = this.#session
    if (signedIn === undefined) return
    switch (event.name) {
      case 'ready': {
        const { user, session } = event.payload
        if (user.id !== signedIn.user.id) {
          this.#session.giveWay(signedIn, user, session)
          return
        }
        signedIn.handle(event)
        this.#session.confirm(user, session)
        return
      }
      case 'presence':
        this.presence.handle(event.payload)
        return
      case 'live':
      case 'changes':
      case 'conversation':
      case 'checkpoint':
      case 'reset':
        signedIn.handle(event)
        return
      case 'moving':
      case 'closing':
        return
    }
  }

  #onStatus(): void {
    const status = this.#connection.status.get()
    const { signedIn } = this.#session
    this.#tokens?.loaded?.follow(this.#connection.isUsable)
    switch (status.state) {
      case 'ready':
        if (signedIn === undefined) return
        this.presence.resume()
        this.users.resume()
        signedIn.resume()
        return
      case 'closed':
        this.presence.disconnected()
        if (status.reason === 'revoked') this.#session.leaveIfClosed()
        return
      case 'waiting':
      case 'offline':
        this.presence.disconnected()
        return
      // Do nothing if the client is stopped: presence ended together with the sign-in.
      case 'idle':
      case 'connecting':
      case 'replaying':
      case 'moving':
        return
    }
  }

  #onStorage(): void {
    const state = this.#store.storage?.get() ?? 'persistent'
    this.#storage.set(state)
    if (state === 'memory') {
      this.#onError(new ChorusError('unavailable', 'unable to keep data on this device; its database cannot be used'))
    }
  }
}
