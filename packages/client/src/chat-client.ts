/**
 * Main class of the SDK: connects the parts and implements the public `ChatClient`. Everything that
 * belongs to the signed-in user (local copy, outbox, open conversations) is created at sign-in and
 * discarded as a whole at sign-out.
 */
import {
  type Change,
  ChorusError,
  type CommandRequest,
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
  DataState,
  SessionState,
  SignedOutReason,
  TransportName,
} from './model/api.ts'
import type { ChatConversation, ConversationSummary } from './model/api-conversation.ts'
import type { OutboxItem } from './model/api-messages.ts'
import type { StorageState } from './model/store.ts'
import { Replica } from './replica/replica.ts'
import type { SendRequest } from './wire/send-request.ts'
import { retryOnce, retryOnceMaxMs, createRequestQueue } from './wire/retry-once.ts'
import { backoffDelayMs } from './support/backoff.ts'
import { createClientId } from './support/client-id.ts'
import { systemClock } from './support/clock.ts'
import { Connection } from './connection/connection.ts'
import { OpenConversation } from './conversation/conversation.ts'
import { CookieJar, keepsCookies } from './wire/cookie-jar.ts'
import { createDeviceSignals } from './connection/device-signals.ts'
import { createEmptyConversation } from './conversation/empty-conversation.ts'
import { guarded, logError } from './support/guarded.ts'
import { createHttpApi, type HttpApi, type HttpLine, toHttpRequest } from './wire/http-api.ts'
import { Lifetime } from './support/lifetime.ts'
import { LiveValuesClient } from './conversation/live-values.ts'
import { type Cell, createCell, createSwitch, derive, type Switch } from './support/observable.ts'
import { createSerialQueue } from './support/serial-queue.ts'
import { Outbox } from './conversation/outbox.ts'
import { PresenceSubscriptions } from './users/presence.ts'
import { parseServerUrl, type ServerUrl } from './wire/server-url.ts'
import { createMemoryStore } from './store/store-memory.ts'
import type { Transport } from './connection/transport.ts'
import { createSocketIoTransport } from './connection/transport-socket-io.ts'
import { callForAck, createSseTransport } from './connection/transport-sse.ts'
import { UserCache } from './users/users.ts'

/** Number of attempts to create a conversation before the application gets the error. */
const createAttemptsMax = 4

/** Maximum time that `stop` and `signOut` wait for the store. */
export const storeMaxMs = 30_000

/** Everything that belongs to the signed-in user. */
interface SignedIn {
  readonly user: User
  /** Lifetime of this sign-in. When it ends, all work for this user stops. */
  readonly life: Lifetime
  readonly api: HttpApi
  readonly replica: Replica
  readonly outbox: Outbox
  readonly live: LiveValuesClient
  readonly conversations: Map<string, OpenConversation>
}

/**
 * Creates a client. It does nothing until `start()` is called. Throws `invalid` when `url` is not
 * an http or https address, or has a query, a fragment or credentials.
 */
export function createChatClient(options: ChatClientOptions): ChatClient {
  return new Client(options)
}

class Client implements ChatClient {
  readonly #clock
  readonly #store
  readonly #onError: (error: unknown) => void
  readonly #jar: CookieJar
  readonly #http: HttpLine
  readonly #requestQueue: ReturnType<typeof createRequestQueue>
  readonly #api: HttpApi
  readonly #connection: Connection
  readonly #session: Cell<SessionState>
  readonly #storage: Cell<StorageState>
  readonly #data: Switch<DataState>
  readonly #list: Switch<readonly ConversationSummary[]>
  readonly #waiting: Switch<readonly OutboxItem[]>
  readonly #changeCallbacks = new Set<(notice: ChangeNotice) => void>()
  readonly #limitedCallbacks = new Set<(notice: { readonly conversation: string; readonly seq: number }) => void>()
  readonly users: UserCache
  readonly presence: PresenceSubscriptions
  readonly unread
  #signedIn: SignedIn | undefined
  /** Lifetime from one `stop` to the next. */
  #run: Lifetime
  /** True once the server has confirmed, since `start`, which user the session belongs to. */
  #isSessionKnown = false
  /** Cancels the next attempt to ask the server which user the session belongs to. */
  #cancelFind: () => void = () => undefined
  /** Runs start, stop, sign-up, sign-in and sign-out one after another. */
  readonly #inTurn = createSerialQueue()

  constructor(options: ChatClientOptions) {
    const { userAgent, clock = systemClock, store = createMemoryStore() } = options
    const url = parseServerUrl(options.url)
    this.#clock = clock
    this.#store = store
    this.#run = new Lifetime(clock)
    const tell = options.onError ?? logError
    const onError = (error: unknown): void => guarded(() => tell(error), logError)
    this.#onError = onError
    this.#session = createCell<SessionState>({ status: 'unknown' }, { onError })
    this.#storage = createCell<StorageState>(store.storage?.get() ?? 'persistent', { onError })
    store.storage?.subscribe(() => this.#onStorage())
    this.#data = createSwitch<DataState>('empty', { onError })
    this.#list = createSwitch<readonly ConversationSummary[]>([], { onError })
    this.#waiting = createSwitch<readonly OutboxItem[]>([], { onError })
    this.#jar = new CookieJar({}, () => this.#keepCookies())
    this.#http = createHttpApi({
      url,
      clock,
      fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
      cookieJar: this.#jar,
      ...(userAgent !== undefined && { userAgent }),
    })
    this.#requestQueue = createRequestQueue({
      random: () => clock.random(),
      after: (delayMs, run) => (this.#signedIn?.life ?? this.#run).waits.after(delayMs, run),
    })
    this.#api = { call: (name, request) => this.#apiWithin(this.#run).call(name, request) }
    this.users = new UserCache(this.#api, clock, { isActive: () => this.#signedIn !== undefined, onError })
    this.#connection = new Connection({
      transports: (options.transports ?? ['socket-io', 'sse']).map((name) => this.#toTransport(name, url, userAgent)),
      clock,
      signals: createDeviceSignals(clock),
      prepare: (isAfterFailure) => this.#prepare(isAfterFailure),
      cursor: () => this.#signedIn?.replica.cursor,
      onEvent: (event) => this.#onEvent(event),
      onError,
    })
    this.#connection.status.subscribe(() => this.#onStatus())
    this.presence = new PresenceSubscriptions({
      request: (name, request) => this.#requestWithin(this.#run)(name, request),
      clock,
      isConnected: () => this.#connection.isUsable,
      isFollowed: () => this.#connection.transportName === 'socket-io',
      onError,
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

  get storage() {
    return this.#storage
  }

  get conversations() {
    return this.#list
  }

  get outbox() {
    return this.#waiting
  }

  async start(): Promise<void> {
    const run = this.#run
    try {
      await this.#inTurn(async () => {
        run.assert('start')
        if (this.#signedIn !== undefined) {
          this.#connection.start()
          return
        }
        const account = await this.#store.readAccount()
        run.assert('start')
        if (account?.cookies !== undefined) this.#jar.restore(account.cookies)
        if (account !== undefined) {
          await this.#enter(account.user, undefined, run)
          return
        }
        // The store is empty, but a browser may still have the session cookie.
        await this.#findSession(0, run)
      })
    } catch (error) {
      // `stop` was called before this finished.
      if (!run.isOver) throw error
    }
  }

  stop(): Promise<void> {
    const signedIn = this.#signedIn
    this.#run.end()
    this.#run = new Lifetime(this.#clock)
    this.#connection.stop()
    if (signedIn !== undefined) this.#dismantle(signedIn)
    else this.users.clear()
    return this.#inTurn(async () => {
      if (signedIn !== undefined) await this.#finish(signedIn.replica.flush())
      await this.#finish(this.#store.close())
    })
  }

  async signUp(request: { readonly handle: string; readonly password: string; readonly name: string }): Promise<User> {
    const run = this.#run
    return this.#inTurn(async () => {
      await this.#apiWithin(run).call('sign-up', request)
      this.#assertCookie(run)
      const { user, session } = await this.#apiWithin(run).call('get-session', {})
      await this.#switchTo(user, session, run)
      return user
    })
  }

  async signIn(request: { readonly handle: string; readonly password: string }): Promise<User> {
    const run = this.#run
    return this.#inTurn(async () => {
      const { user, session } = await this.#apiWithin(run).call('sign-in', request)
      this.#assertCookie(run)
      await this.#switchTo(user, session, run)
      return user
    })
  }

  signOut(): Promise<void> {
    const run = this.#run
    return this.#inTurn(async () => {
      try {
        await this.#apiWithin(run).call('sign-out', {})
      } catch (error) {
        // An already ended session is a success. After any other error the session is still alive,
        // so the user must know.
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
    const signedIn = this.#signedIn
    const { user } = await this.#api.call('update-profile', patch)
    // Another user may have signed in during the request. Do not overwrite their session.
    if (signedIn === undefined || signedIn !== this.#signedIn) return user
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
    const signedIn = this.#signedIn
    if (signedIn === undefined) return createEmptyConversation(id)
    const known = signedIn.conversations.get(id)
    if (known !== undefined) return known
    const opened = new OpenConversation(id, {
      me: signedIn.user.id,
      replica: signedIn.replica,
      outbox: signedIn.outbox,
      live: signedIn.live,
      api: signedIn.api,
      request: this.#requestWithin(signedIn.life),
      clock: signedIn.life.clock,
      users: this.users,
      presence: this.presence,
      isConnected: () => !signedIn.life.isOver && this.#connection.isUsable,
      onError: this.#onError,
    })
    signedIn.conversations.set(id, opened)
    return opened
  }

  async createConversation(request: Parameters<ChatClient['createConversation']>[0]): Promise<ConversationSummary> {
    const { replica } = this.#requireSignedIn('create conversation')
    const { members = [], ...rest } = request
    const conversation = await this.#create({ ...rest, members: [...members] })
    return replica.upsert(conversation)
  }

  /**
   * Creates a conversation. Retries send the same clientId, so that an attempt that succeeded is
   * not repeated (rule IDEM2).
   */
  async #create(request: CommandRequest<'create-conversation'>): Promise<Conversation> {
    const run = this.#run
    const clientId = createClientId()
    for (let attempt = 0, unsure: ChorusError | undefined; ; attempt += 1) {
      try {
        return (await this.#apiWithin(run).call('create-conversation', { ...request, clientId })).conversation
      } catch (error) {
        if (!(error instanceof ChorusError)) throw error
        if (error.code === 'invalid') {
          // A server of protocol version 1 refuses the clientId. Without it, a request that may
          // have succeeded is never retried.
          if (unsure !== undefined) throw unsure
          return (await this.#apiWithin(run).call('create-conversation', request)).conversation
        }
        if (error.code === 'unknown') unsure = error
        else if (error.code !== 'unavailable') throw error
        if (attempt + 1 >= createAttemptsMax || (error.retryAfterMs ?? 0) > retryOnceMaxMs) throw error
        const delayMs = backoffDelayMs(attempt, this.#clock, error.retryAfterMs)
        await new Promise<void>((resolve) => void run.waits.after(delayMs, resolve))
        run.assert('create conversation')
      }
    }
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

  #toTransport(name: TransportName, url: ServerUrl, userAgent: string | undefined): Transport {
    switch (name) {
      case 'socket-io':
        return createSocketIoTransport({
          url,
          headers: () => ({ ...this.#jar.headers, ...(userAgent !== undefined && { 'user-agent': userAgent }) }),
        })
      case 'sse':
        return createSseTransport({ api: this.#http, clock: this.#clock })
    }
  }

  #requireSignedIn(doing: string): SignedIn {
    if (this.#signedIn === undefined)
      throw new ChorusError('unauthenticated', `unable to ${doing}; no user is signed in`)
    return this.#signedIn
  }

  /** Returns the API that the parts use. After the end of `life` every call is refused at once. */
  #apiWithin(life: Lifetime): HttpApi {
    return {
      call: async (name, request) => {
        const send = () => this.#http.call(name, request, life.signal)
        const { method, path } = toHttpRequest(name, request)
        // Reads (GET) need no order, and neither do requests that create something new each time
        // (POST).
        return method === 'GET' || method === 'POST'
          ? retryOnce(send, life.waits)
          : this.#requestQueue(path, false, send)
      },
    }
  }

  /**
   * Returns a function that sends commands which set a whole value. A newer command for the same
   * path replaces an older one that is still waiting for a retry.
   */
  #requestWithin(life: Lifetime): SendRequest {
    const line: HttpApi = { call: (name, request) => this.#http.call(name, request, life.signal) }
    return async (name, request) =>
      this.#requestQueue(toHttpRequest(name, request).path, true, async () => {
        life.assert(name)
        return this.#connection.isUsable ? this.#connection.request(name, request) : callForAck(line, name, request)
      })
  }

  /** Waits for the store, for at most 30 s. Passes its errors to `onError`. */
  async #finish(work: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(storeMaxMs, () => {
        this.#onError(new ChorusError('unavailable', 'unable to store data on this device; the store does not respond'))
        resolve()
      })
      work.catch(this.#onError).finally(() => {
        cancel()
        resolve()
      })
    })
  }

  /**
   * Throws if the session cookie cannot be kept. Otherwise the next request would fail as if the
   * password were wrong.
   */
  #assertCookie(run: Lifetime): void {
    run.assert('sign in')
    if (this.#jar.header !== undefined || keepsCookies()) return
    throw new ChorusError(
      'unauthenticated',
      'unable to keep the session; this platform stores no cookies, and its fetch hides them from the client',
    )
  }

  /**
   * Asks the server which user the session belongs to. While the server cannot be reached, retries
   * in the background.
   */
  async #findSession(attempt: number, run: Lifetime): Promise<void> {
    try {
      const { user, session } = await this.#apiWithin(run).call('get-session', {})
      await this.#switchTo(user, session, run)
    } catch (error) {
      if (run.isOver) return
      if (!(error instanceof ChorusError)) throw error
      if (error.code === 'unauthenticated') this.#session.set({ status: 'signed-out', reason: 'asked' })
      else {
        const delayMs = Math.min(30_000, 1_000 * 2 ** attempt) * (0.5 + this.#clock.random() / 2)
        this.#cancelFind()
        this.#cancelFind = run.clock.after(Math.max(delayMs, error.retryAfterMs ?? 0), () => {
          this.#inTurn(async () => {
            if (this.#session.get().status === 'unknown' && this.#signedIn === undefined)
              await this.#findSession(attempt + 1, run)
          }).catch(this.#onError)
        })
      }
    }
  }

  async #switchTo(user: User, session: Session, run: Lifetime): Promise<void> {
    run.assert('sign in')
    const before = this.#signedIn
    if (before !== undefined) {
      this.#connection.stop()
      this.#dismantle(before)
      // The copy of the previous user must not stay on the device. Their pending messages stay
      // until they sign in again.
      if (before.user.id !== user.id) await this.#finish(this.#store.clear(before.user.id, { outbox: false }))
      else await this.#finish(before.replica.flush())
    }
    await this.#enter(user, session, run)
    this.#isSessionKnown = true
    await this.#writeAccount(user)
  }

  /** Loads the stored data of this user and connects. */
  async #enter(user: User, session: Session | undefined, run: Lifetime): Promise<void> {
    run.assert('sign in')
    this.#cancelFind()
    const life = new Lifetime(this.#clock)
    const api = this.#apiWithin(life)
    const replica = new Replica({
      me: user.id,
      store: this.#store,
      api,
      clock: life.clock,
      users: this.users,
      onError: this.#onError,
      onChange: (notice) => this.#onChange(notice),
      onLimited: (notice) => this.#onLimited(notice),
      onMoved: (conversation, seq) => outbox.settleUpTo(conversation, seq),
      onReset: () => this.#connection.reconnect(),
    })
    const outbox = new Outbox({
      store: this.#store,
      me: user.id,
      clock: life.clock,
      isConnected: () => !life.isOver && this.#connection.isUsable,
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
    const live = new LiveValuesClient({
      api,
      request: this.#requestWithin(life),
      clock: life.clock,
      onError: this.#onError,
    })
    const signedIn: SignedIn = { user, life, api, replica, outbox, live, conversations: new Map() }
    this.#signedIn = signedIn
    this.users.put([user])
    // A store that cannot be read (full, private window, damaged) must not prevent the user from
    // chatting.
    await replica.loadCached().catch(this.#onError)
    await outbox.load().catch(this.#onError)
    // The client may have been stopped while the store was read.
    life.assert('sign in')
    this.#data.point(replica.data)
    this.#list.point(replica.conversations)
    this.#waiting.point(outbox.items)
    this.#session.set({ status: 'signed-in', user, ...(session && { session }) })
    this.#connection.start()
  }

  /**
   * Ends everything of a sign-in synchronously: nothing of it is shown or continues after this
   * call.
   */
  #dismantle({ life, replica, outbox, live }: SignedIn): void {
    replica.stop()
    outbox.stop()
    live.stop()
    life.end()
    this.presence.stop()
    this.users.clear()
    this.#signedIn = undefined
    this.#isSessionKnown = false
    this.#session.set({ status: 'unknown' })
    this.#data.point(undefined)
    this.#list.point(undefined)
    this.#waiting.point(undefined)
  }

  async #leave(reason: SignedOutReason, isForgettingOutbox: boolean): Promise<void> {
    const signedIn = this.#signedIn
    this.#connection.stop()
    if (signedIn !== undefined) this.#dismantle(signedIn)
    this.#session.set({ status: 'signed-out', reason })
    await this.#finish(this.#store.writeAccount(undefined))
    if (signedIn !== undefined) await this.#finish(this.#store.clear(signedIn.user.id, { outbox: isForgettingOutbox }))
  }

  /**
   * Runs before a link is opened. Checks which user the session belongs to, and loads everything if
   * there is no cursor.
   */
  #prepare(isAfterFailure: boolean): Promise<void> | undefined {
    const signedIn = this.#signedIn
    if (signedIn === undefined) return undefined
    // A refused WebSocket does not report the reason, but an HTTP request does.
    const isCheckDue = !this.#isSessionKnown || isAfterFailure
    if (!isCheckDue && !signedIn.replica.needsLoad) return undefined
    return this.#prepareNow(signedIn, isCheckDue)
  }

  async #prepareNow(signedIn: SignedIn, isCheckDue: boolean): Promise<void> {
    if (isCheckDue) {
      const answer = await signedIn.api.call('get-session', {})
      signedIn.life.assert('connect')
      if (answer.user.id !== signedIn.user.id) {
        this.#giveWay(signedIn, answer.user, answer.session)
        throw new ChorusError('unavailable', 'unable to connect; another user has signed in on this device')
      }
      this.#isSessionKnown = true
      this.#applySession(answer.user, answer.session)
    }
    if (signedIn.replica.needsLoad) await signedIn.replica.firstLoad()
  }

  /** Switches to another user, because another tab has replaced the session cookie. */
  #giveWay(signedIn: SignedIn, user: User, session: Session): void {
    const run = this.#run
    this.#inTurn(async () => {
      if (this.#signedIn === signedIn) await this.#switchTo(user, session, run)
    }).catch((error: unknown) => {
      if (!run.isOver) this.#onError(error)
    })
  }

  #applySession(user: User, session: Session): void {
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
          this.#giveWay(signedIn, user, session)
          return
        }
        signedIn.replica.handle(event)
        this.#isSessionKnown = true
        this.#applySession(user, session)
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
        this.users.resume()
        signedIn.outbox.resume()
        signedIn.live.resume()
        for (const conversation of signedIn.conversations.values()) conversation.resume()
        return
      case 'closed':
        this.presence.disconnected()
        if (status.reason === 'revoked') this.#inTurn(() => this.#leaveIfClosed(signedIn)).catch(this.#onError)
        return
      case 'waiting':
      case 'offline':
        this.presence.disconnected()
        return
      // The client was stopped, so presence updates ended with the sign-in.
      case 'idle':
      case 'connecting':
      case 'replaying':
      case 'moving':
        return
    }
  }

  /**
   * Signs out locally after the server ended the session. Pending messages are kept, because the
   * same user may sign in again.
   */
  async #leaveIfClosed(signedIn: SignedIn | undefined): Promise<void> {
    if (this.#signedIn === signedIn && this.#connection.status.get().state === 'closed')
      await this.#leave('revoked', false)
  }

  #onChange(notice: ChangeNotice): void {
    const signedIn = this.#signedIn
    if (signedIn === undefined) return
    const { conversation, change } = notice
    this.#settle(signedIn, change)
    signedIn.conversations.get(conversation)?.handle(change)
    for (const callback of this.#changeCallbacks) guarded(() => callback(notice), this.#onError)
  }

  #settle({ user, outbox }: SignedIn, change: Change): void {
    if (change.type !== 'message.created' || change.message.sender !== user.id) return
    outbox.settle(change.message.clientId, change.message)
  }

  #onLimited(notice: { readonly conversation: string; readonly seq: number }): void {
    this.#signedIn?.conversations.get(notice.conversation)?.restart()
    for (const callback of this.#limitedCallbacks) guarded(() => callback(notice), this.#onError)
  }

  #onStorage(): void {
    const state = this.#store.storage?.get() ?? 'persistent'
    this.#storage.set(state)
    if (state === 'memory') {
      this.#onError(new ChorusError('unavailable', 'unable to keep data on this device; its database cannot be used'))
    }
  }

  #keepCookies(): void {
    const user = this.#signedIn?.user
    if (user !== undefined) this.#writeAccount(user).catch(this.#onError)
  }

  async #writeAccount(user: User): Promise<void> {
    const isKeeping = this.#jar.header !== undefined
    await this.#store.writeAccount({ user, ...(isKeeping && { cookies: this.#jar.cookies }) }).catch(this.#onError)
  }
}
