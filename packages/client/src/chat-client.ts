/**
 * The door of the SDK: wires the parts together and offers what an application asks for. What belongs to one signed-in
 * user (the copy, the outbox, the open conversations) is made at sign-in and thrown away at sign-out as a whole.
 */
import {
  type Change,
  ChorusError,
  type Conversation,
  type Role,
  type ServerEvent,
  type Session,
  type User,
} from '@chorus/protocol'
import type {
  ChangeNotice,
  ChatClient,
  ChatClientOptions,
  ChatConversation,
  ConversationSummary,
  DataState,
  OutboxItem,
  SessionState,
  SignedOutReason,
  TransportName,
} from './api.ts'
import type { Ask } from './ask.ts'
import { askAgain, createAskInOrder } from './ask-again.ts'
import { systemClock } from './clock.ts'
import { Connection } from './connection.ts'
import { OpenConversation } from './conversation.ts'
import { CookieJar } from './cookie-jar.ts'
import { createDeviceSignals } from './device-signals.ts'
import { createHttpApi, type HttpApi, type HttpLine, toHttpRequest } from './http-api.ts'
import { LiveLane } from './live-values.ts'
import { createCell, createSwitch, derive, type Switch } from './observable.ts'
import { Outbox } from './outbox.ts'
import { PresenceBoard } from './presence.ts'
import { Replica } from './replica.ts'
import { createMemoryStore } from './store-memory.ts'
import type { Transport } from './transport.ts'
import { createSocketIoTransport } from './transport-socket-io.ts'
import { callForAck, createSseTransport } from './transport-sse.ts'
import { UserCache } from './users.ts'

/** All that belongs to the user who is signed in. */
interface SignedIn {
  readonly user: User
  readonly replica: Replica
  readonly outbox: Outbox
  readonly live: LiveLane
  readonly conversations: Map<string, OpenConversation>
}

/** Makes a client. Nothing happens until `start()`. */
export function createChatClient(options: ChatClientOptions): ChatClient {
  return new Client(options)
}

class Client implements ChatClient {
  readonly #clock
  readonly #store
  readonly #onError: (error: unknown) => void
  readonly #jar: CookieJar | undefined
  readonly #api: HttpApi
  /** Each request says the whole of what its path names: a newer one takes the place of one that is not done yet. */
  readonly #ask: Ask
  readonly #connection: Connection
  readonly #session = createCell<SessionState>({ status: 'unknown' })
  readonly #data: Switch<DataState> = createSwitch<DataState>('empty')
  readonly #list: Switch<readonly ConversationSummary[]> = createSwitch<readonly ConversationSummary[]>([])
  readonly #waiting: Switch<readonly OutboxItem[]> = createSwitch<readonly OutboxItem[]>([])
  readonly #changeCallbacks = new Set<(notice: ChangeNotice) => void>()
  readonly #limitedCallbacks = new Set<(notice: { readonly conversation: string; readonly seq: number }) => void>()
  readonly users: UserCache
  readonly presence: PresenceBoard
  readonly unread
  #signedIn: SignedIn | undefined
  /** Has the server said, since `start`, whose session this is? */
  #isSessionKnown = false
  /** Sign-in, sign-out and the like go one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: ChatClientOptions) {
    const { url, userAgent, clock = systemClock, store = createMemoryStore() } = options
    this.#clock = clock
    this.#store = store
    // eslint-disable-next-line no-console -- where nobody else is told
    this.#onError = options.onError ?? ((error) => console.error(error))
    // Browsers keep their cookies themselves, and do not let them be read.
    this.#jar = typeof document === 'undefined' ? new CookieJar({}, () => this.#keepCookies()) : undefined
    const http = createHttpApi({
      url,
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
      ...(this.#jar && { cookieJar: this.#jar }),
      ...(userAgent !== undefined && { userAgent }),
    })
    const inOrder = createAskInOrder(clock)
    this.#api = {
      call: async (name, request) => {
        const ask = () => http.call(name, request)
        const { method, path } = toHttpRequest(name, request)
        // What is only read needs no order, and neither does what is made anew each time.
        return method === 'GET' || method === 'POST' ? askAgain(ask, clock) : inOrder(path, false, ask)
      },
    }
    this.#ask = async (name, request) =>
      inOrder(toHttpRequest(name, request).path, true, () =>
        this.#connection.isUsable ? this.#connection.request(name, request) : callForAck(http, name, request),
      )
    this.users = new UserCache(this.#api, clock)
    this.#connection = new Connection({
      transports: (options.transports ?? ['socket-io', 'sse']).map((name) =>
        this.#toTransport(name, http, url, userAgent),
      ),
      clock,
      signals: createDeviceSignals(clock),
      prepare: (isAfterFailure) => this.#prepare(isAfterFailure),
      cursor: () => this.#signedIn?.replica.cursor,
      onEvent: (event) => this.#onEvent(event),
    })
    this.#connection.status.subscribe(() => this.#onStatus())
    this.presence = new PresenceBoard({
      ask: this.#ask,
      clock,
      isConnected: () => this.#connection.isUsable,
      isFollowed: () => this.#connection.transportName === 'socket-io',
    })
    this.unread = derive(this.#list, (conversations) => conversations.reduce((sum, { unread }) => sum + unread, 0))
  }

  get session() {
    return this.#session
  }

  get connection() {
    return this.#connection.status
  }

  get data() {
    return this.#data
  }

  get conversations() {
    return this.#list
  }

  get outbox() {
    return this.#waiting
  }

  start(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#signedIn !== undefined) {
        this.#connection.start()
        return
      }
      const account = await this.#store.readAccount()
      if (account?.cookies !== undefined) this.#jar?.restore(account.cookies)
      if (account !== undefined) {
        await this.#enter(account.user, undefined)
        return
      }
      // Nothing is stored, but a browser may have the cookie.
      await this.#findSession(0)
    })
  }

  stop(): Promise<void> {
    return this.#inTurn(async () => {
      this.#connection.stop()
      const signedIn = this.#signedIn
      if (signedIn === undefined) return
      await signedIn.replica.flush()
      this.#dismantle(signedIn)
      this.#session.set({ status: 'unknown' })
      await this.#store.close()
    })
  }

  signUp(request: { readonly handle: string; readonly password: string; readonly name: string }): Promise<User> {
    return this.#inTurn(async () => {
      await this.#api.call('sign-up', request)
      const { user, session } = await this.#api.call('get-session', {})
      await this.#switchTo(user, session)
      return user
    })
  }

  signIn(request: { readonly handle: string; readonly password: string }): Promise<User> {
    return this.#inTurn(async () => {
      const { user, session } = await this.#api.call('sign-in', request)
      await this.#switchTo(user, session)
      return user
    })
  }

  signOut(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        await this.#api.call('sign-out', {})
      } catch (error) {
        // Signed out already is what was asked for. Anything else leaves the session alive, and the user must know.
        if (!(error instanceof ChorusError) || error.code !== 'unauthenticated') throw error
      }
      await this.#leave('asked', true)
    })
  }

  async sessions(): Promise<readonly Session[]> {
    return (await this.#api.call('list-sessions', {})).sessions
  }

  async revokeSession(id: string): Promise<void> {
    await this.#api.call('revoke-session', { id })
  }

  async updateProfile(patch: { readonly handle?: string; readonly name?: string; readonly avatar?: string | null }) {
    const { user } = await this.#api.call('update-profile', patch)
    this.users.put([user])
    const session = this.#session.get()
    if (session.status === 'signed-in') this.#session.set({ ...session, user })
    await this.#writeAccount(user)
    return user
  }

  async sessionData() {
    return (await this.#api.call('get-session-data', {})).data
  }

  async updateSessionData(patch: Parameters<ChatClient['updateSessionData']>[0]) {
    return (await this.#api.call('update-session-data', { data: patch })).data
  }

  conversation(id: string): ChatConversation {
    const signedIn = this.#demand('open conversation')
    const known = signedIn.conversations.get(id)
    if (known !== undefined) return known
    const opened = new OpenConversation(id, {
      me: signedIn.user.id,
      replica: signedIn.replica,
      outbox: signedIn.outbox,
      live: signedIn.live,
      api: this.#api,
      ask: this.#ask,
      clock: this.#clock,
      users: this.users,
      presence: this.presence,
      isConnected: () => this.#connection.isUsable,
    })
    signedIn.conversations.set(id, opened)
    return opened
  }

  async createConversation(request: Parameters<ChatClient['createConversation']>[0]): Promise<ConversationSummary> {
    const { replica } = this.#demand('create conversation')
    const { members = [], ...rest } = request
    const { conversation } = await this.#api.call('create-conversation', { ...rest, members: [...members] })
    return replica.adopt(conversation)
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
    const { replica } = this.#demand('join channel')
    await this.#api.call('put-member', { conversation: id, user: 'me' })
    const { conversation } = await this.#api.call('get-conversation', { conversation: id })
    replica.adopt(conversation)
  }

  async leave(id: string): Promise<void> {
    const { replica } = this.#demand('leave conversation')
    await this.#api.call('remove-member', { conversation: id, user: 'me' })
    replica.forget(id)
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
    const { replica } = this.#demand('rename conversation')
    replica.adopt((await this.#api.call('update-conversation', { conversation, name })).conversation)
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

  #toTransport(name: TransportName, http: HttpLine, url: string, userAgent: string | undefined): Transport {
    switch (name) {
      case 'socket-io':
        return createSocketIoTransport({
          url,
          headers: () => {
            const cookie = this.#jar?.header
            return {
              ...(cookie !== undefined && { cookie }),
              ...(this.#jar !== undefined && userAgent !== undefined && { 'user-agent': userAgent }),
            }
          },
        })
      case 'sse':
        return createSseTransport({ api: http, clock: this.#clock })
    }
  }

  #inTurn<Result>(run: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(run)
    this.#turn = result.catch(() => undefined)
    return result
  }

  #demand(doing: string): SignedIn {
    if (this.#signedIn === undefined)
      throw new ChorusError('unauthenticated', `unable to ${doing}; nobody is signed in`)
    return this.#signedIn
  }

  /** Asks whose session it is; while the server cannot be asked, goes on asking in the background. */
  async #findSession(attempt: number): Promise<void> {
    try {
      const { user, session } = await this.#api.call('get-session', {})
      await this.#switchTo(user, session)
    } catch (error) {
      if (!(error instanceof ChorusError)) throw error
      if (error.code === 'unauthenticated') this.#session.set({ status: 'signed-out', reason: 'asked' })
      else {
        const delayMs = Math.min(30_000, 1_000 * 2 ** attempt) * (0.5 + this.#clock.random() / 2)
        this.#clock.after(Math.max(delayMs, error.retryAfterMs ?? 0), () => {
          this.#inTurn(async () => {
            if (this.#session.get().status === 'unknown' && this.#signedIn === undefined)
              await this.#findSession(attempt + 1)
          }).catch(this.#onError)
        })
      }
    }
  }

  async #switchTo(user: User, session: Session): Promise<void> {
    const before = this.#signedIn
    if (before !== undefined) {
      this.#connection.stop()
      this.#dismantle(before)
      if (before.user.id !== user.id) await this.#store.clear(before.user.id, { outbox: false })
    }
    this.#isSessionKnown = true
    await this.#enter(user, session)
    await this.#writeAccount(user)
  }

  /** Shows what the store has of this user, and connects. */
  async #enter(user: User, session: Session | undefined): Promise<void> {
    const replica = new Replica({
      me: user.id,
      store: this.#store,
      api: this.#api,
      clock: this.#clock,
      users: this.users,
      onError: this.#onError,
      onChange: (notice) => this.#onChange(notice),
      onLimited: (notice) => this.#onLimited(notice),
      onMoved: (conversation, seq) => outbox.settleUpTo(conversation, seq),
      onReset: () => this.#connection.reconnect(),
    })
    const outbox = new Outbox({
      store: this.#store,
      userId: user.id,
      clock: this.#clock,
      canSend: () => this.#connection.isUsable,
      send: ({ conversation, clientId, draft }) => {
        const { attachments, ...rest } = draft
        return this.#connection.request('send-message', {
          conversation,
          clientId,
          ...rest,
          ...(attachments !== undefined && { attachments: [...attachments] }),
        })
      },
      appliedSeqOf: (conversation) => replica.appliedSeqOf(conversation),
      onError: this.#onError,
    })
    const live = new LiveLane({ api: this.#api, ask: this.#ask, clock: this.#clock })
    this.#signedIn = { user, replica, outbox, live, conversations: new Map() }
    this.users.put([user])
    // A store that cannot be read (full, private mode, damaged) must not keep anybody from chatting.
    await replica.loadCached().catch(this.#onError)
    await outbox.load().catch(this.#onError)
    this.#data.point(replica.data)
    this.#list.point(replica.conversations)
    this.#waiting.point(outbox.items)
    this.#session.set({ status: 'signed-in', user, ...(session && { session }) })
    this.#connection.start()
  }

  #dismantle({ replica, outbox, live }: SignedIn): void {
    replica.stop()
    outbox.stop()
    live.stop()
    this.presence.stop()
    this.users.clear()
    this.#signedIn = undefined
    this.#isSessionKnown = false
    this.#data.point(undefined)
    this.#list.point(undefined)
    this.#waiting.point(undefined)
  }

  async #leave(reason: SignedOutReason, isForgettingOutbox: boolean): Promise<void> {
    const signedIn = this.#signedIn
    this.#connection.stop()
    if (signedIn !== undefined) this.#dismantle(signedIn)
    this.#session.set({ status: 'signed-out', reason })
    await this.#store.writeAccount(undefined)
    if (signedIn !== undefined) await this.#store.clear(signedIn.user.id, { outbox: isForgettingOutbox })
  }

  /** Before a link is opened: whose session is it, and is there something to resume from? */
  #prepare(isAfterFailure: boolean): Promise<void> | undefined {
    const signedIn = this.#signedIn
    if (signedIn === undefined) return undefined
    // A refused WebSocket does not say why; a request does.
    const isAsking = !this.#isSessionKnown || isAfterFailure
    if (!isAsking && !signedIn.replica.needsLoad) return undefined
    return this.#prepareNow(signedIn, isAsking)
  }

  async #prepareNow({ user, replica }: SignedIn, isAsking: boolean): Promise<void> {
    if (isAsking) {
      const answer = await this.#api.call('get-session', {})
      if (answer.user.id !== user.id) {
        this.#inTurn(() => this.#switchTo(answer.user, answer.session)).catch(this.#onError)
        throw new ChorusError('unavailable', 'unable to connect; another user has signed in on this device')
      }
      this.#isSessionKnown = true
      this.#takeSession(answer.user, answer.session)
    }
    if (replica.needsLoad) await replica.firstLoad()
  }

  #takeSession(user: User, session: Session): void {
    this.users.put([user])
    this.#session.set({ status: 'signed-in', user, session })
  }

  #onEvent(event: ServerEvent): void {
    const signedIn = this.#signedIn
    if (signedIn === undefined) return
    switch (event.name) {
      case 'ready': {
        const { user, session } = event.payload
        if (user.id !== signedIn.user.id) {
          // The cookie was exchanged under us, by another tab: what came belongs to somebody else.
          this.#inTurn(() => this.#switchTo(user, session)).catch(this.#onError)
          return
        }
        signedIn.replica.handle(event)
        this.#isSessionKnown = true
        this.#takeSession(user, session)
        return
      }
      case 'live':
        signedIn.live.handle(event.payload)
        return
      case 'presence':
        this.presence.handle(event.payload)
        return
      case 'changes':
      case 'conversation':
      case 'checkpoint':
      case 'reset':
        signedIn.replica.handle(event)
        return
      case 'moving':
      case 'closing':
        return
    }
  }

  #onStatus(): void {
    const status = this.#connection.status.get()
    const signedIn = this.#signedIn
    switch (status.state) {
      case 'ready':
        if (signedIn === undefined) return
        this.presence.resume()
        signedIn.outbox.resume()
        signedIn.live.resume()
        for (const conversation of signedIn.conversations.values()) conversation.resume()
        return
      case 'closed':
        this.presence.disconnected()
        if (status.reason === 'revoked') this.#inTurn(() => this.#leaveIfClosed()).catch(this.#onError)
        return
      case 'idle':
      case 'waiting':
      case 'offline':
        this.presence.disconnected()
        return
      case 'connecting':
      case 'replaying':
      case 'moving':
        return
    }
  }

  /** Messages that wait are kept: the same user may sign in again. */
  async #leaveIfClosed(): Promise<void> {
    if (this.#connection.status.get().state === 'closed') await this.#leave('revoked', false)
  }

  #onChange(notice: ChangeNotice): void {
    const signedIn = this.#signedIn
    if (signedIn === undefined) return
    const { conversation, change } = notice
    this.#settle(signedIn, change)
    signedIn.conversations.get(conversation)?.handle(change)
    for (const callback of this.#changeCallbacks) this.#guarded(() => callback(notice))
  }

  #settle({ user, outbox }: SignedIn, change: Change): void {
    if (change.type !== 'message.created' || change.message.sender !== user.id) return
    const { clientId, seq, createdAt } = change.message
    outbox.settle(clientId, { seq, createdAt })
  }

  #onLimited(notice: { readonly conversation: string; readonly seq: number }): void {
    this.#signedIn?.conversations.get(notice.conversation)?.restart()
    for (const callback of this.#limitedCallbacks) this.#guarded(() => callback(notice))
  }

  #guarded(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#onError(error)
    }
  }

  #keepCookies(): void {
    const user = this.#signedIn?.user
    if (user !== undefined) this.#writeAccount(user).catch(this.#onError)
  }

  async #writeAccount(user: User): Promise<void> {
    await this.#store.writeAccount({ user, ...(this.#jar && { cookies: this.#jar.cookies }) }).catch(this.#onError)
  }
}
