/**
 * What an application sees of this package, as interfaces. Everything that changes is an `Observable`, everything that
 * asks the server is a promise that ends in a result or a `ChorusError`. The classes that do the work stay inside.
 */
import type {
  Change,
  Conversation,
  ConversationKind,
  ErrorBody,
  Json,
  LiveValue,
  Member,
  PageMessage,
  Presence,
  Role,
  Session,
  SyncPage,
  User,
} from '@chorus/protocol'
import type { Clock } from './clock.ts'
import type { Observable } from './observable.ts'
import type { ChatStore, StorageState } from './store.ts'

/** How to make a client; only `url` is needed. */
export interface ChatClientOptions {
  /** Where the server is: `https://chat.example.org`. In a browser usually `location.origin`. */
  readonly url: string
  /** What survives a reload: `createMemoryStore()` (the default), `createIndexedDbStore()`, or `createFileStore()` of `@chorus/client/node`. */
  readonly store?: ChatStore
  /** Another `fetch`, for instance in tests. */
  readonly fetch?: typeof fetch
  /** The transports to use, in order of preference. Default: WebSocket by Socket.IO, then Server-Sent Events with POST. */
  readonly transports?: readonly TransportName[]
  /** Sent as `User-Agent` where that is possible (not in browsers); it names the device in the list of sessions. */
  readonly userAgent?: string
  /** Time, timers and chance; tests give their own. */
  readonly clock?: Clock
  /** Told what went wrong where nobody waits for an answer: a throwing callback, a store that cannot be written. Default: `console.error`. */
  readonly onError?: (error: unknown) => void
}

export type TransportName = 'socket-io' | 'sse'

/** Who is signed in on this device. */
export type SessionState =
  /** Not known yet: `start()` has not finished, or the server could not be asked. */
  | { readonly status: 'unknown' }
  | { readonly status: 'signed-out'; readonly reason: SignedOutReason }
  /** `session` is missing while only the store has been asked (offline start). */
  | { readonly status: 'signed-in'; readonly user: User; readonly session?: Session }

/** `asked`: by `signOut`, or never signed in here. `revoked`: the server ended the session. */
export type SignedOutReason = 'asked' | 'revoked'

/** The connection, for a banner. Only in `ready` and `moving` does everything arrive as it happens. */
export type ConnectionStatus =
  /** Not started, or stopped. */
  | { readonly state: 'idle' }
  | { readonly state: 'connecting'; readonly attempt: number }
  /** Connected; what was missed is arriving. */
  | { readonly state: 'replaying'; readonly transport: TransportName }
  | { readonly state: 'ready'; readonly transport: TransportName }
  /** Still served by the old connection while the new one opens. */
  | { readonly state: 'moving'; readonly transport: TransportName }
  /** Not connected; the next attempt starts `retryInMs` after this state began. */
  | { readonly state: 'waiting'; readonly attempt: number; readonly retryInMs: number }
  /** The device says that it has no network. */
  | { readonly state: 'offline' }
  | { readonly state: 'closed'; readonly reason: ClosedReason; readonly message: string }

/** `revoked`: the session is over. `refused`: the server said that trying again is of no use. */
export type ClosedReason = 'revoked' | 'refused'

/**
 * Where the local copy comes from. `empty`: nothing yet. `cached`: what the store had. `loading`: the first load is
 * running. `live`: complete, and kept up to date while connected.
 */
export type DataState = 'empty' | 'cached' | 'loading' | 'live'

/** The door: one per signed-in device. Made by `createChatClient`. */
export interface ChatClient {
  readonly session: Observable<SessionState>
  readonly connection: Observable<ConnectionStatus>
  readonly data: Observable<DataState>
  /** `memory` where there is no store, or where the browser's database was refused or lost, perhaps while running. */
  readonly storage: Observable<StorageState>
  /** My conversations, the most recently active first. */
  readonly conversations: Observable<readonly ConversationSummary[]>
  /** Unread messages in all conversations. */
  readonly unread: Observable<number>
  /** Messages that are waiting, were refused, or were acknowledged a moment ago, in the order of writing. */
  readonly outbox: Observable<readonly OutboxItem[]>
  readonly users: Users
  readonly presence: PresenceWatcher

  /** Shows what the store has, finds out who is signed in, and connects if somebody is. Call it once. */
  start(): Promise<void>
  /** Disconnects and writes the store. `start()` may be called again. */
  stop(): Promise<void>

  signUp(request: { readonly handle: string; readonly password: string; readonly name: string }): Promise<User>
  signIn(request: { readonly handle: string; readonly password: string }): Promise<User>
  /** Ends the session on the server and forgets everything this user stored here, waiting messages too. */
  signOut(): Promise<void>
  /** My signed-in devices. */
  sessions(): Promise<readonly Session[]>
  revokeSession(id: string): Promise<void>
  updateProfile(patch: {
    readonly handle?: string
    readonly name?: string
    readonly avatar?: string | null
  }): Promise<User>
  /** The application's own small JSON that is kept with the session. */
  sessionData(): Promise<{ readonly [key: string]: Json }>
  /** Merges top-level keys and returns the whole. */
  updateSessionData(patch: { readonly [key: string]: Json }): Promise<{ readonly [key: string]: Json }>

  /** The handle of one conversation; the same object for the same id. Costs nothing until something of it is used. */
  conversation(id: string): ChatConversation
  /** Begins a conversation. A direct one that exists comes back as it is. */
  createConversation(request: {
    readonly kind: ConversationKind
    readonly name?: string
    readonly members?: readonly string[]
  }): Promise<ConversationSummary>
  /** People whose handle or name begins with `q`. */
  findUsers(q: string, limit?: number): Promise<readonly User[]>
  /** Public channels whose name contains `q`; `role` is null in those I have not joined. */
  findChannels(q: string, limit?: number): Promise<readonly Conversation[]>
  joinChannel(id: string): Promise<void>
  leave(id: string): Promise<void>
  addMember(conversation: string, user: string, role?: Role): Promise<Member>
  removeMember(conversation: string, user: string): Promise<void>
  setRole(conversation: string, user: string, role: Role): Promise<Member>
  rename(conversation: string, name: string): Promise<void>

  /** One page of `GET /v1/sync`, as the wire says it; for tools. The client itself catches up on its own. */
  sync(cursor?: string): Promise<SyncPage>
  /**
   * Calls back exactly once per (epoch, conversation, seq) of this store, in seq order within a conversation (rule CLI1).
   * Pages read backwards make no calls, and a conversation that was `limited` starts again after its new top.
   */
  onChange(callback: (change: ChangeNotice) => void): () => void
  /**
   * Calls back when changes of a conversation were passed over: too many to be replayed, before the user (re)joined, or received
   * only by another client of the same store. Read its newest page.
   */
  onLimited(callback: (notice: { readonly conversation: string; readonly seq: number }) => void): () => void
}

export interface ChangeNotice {
  /** The identity of the database history; a seq means something only within it. */
  readonly epoch: string
  readonly conversation: string
  readonly change: Change
}

/** A conversation as the list shows it: the wire's object, kept up to date, and what orders it. */
export interface ConversationSummary extends Conversation {
  /** When the last message was written, or the conversation begun (ISO 8601, the database's clock). */
  readonly activeAt: string
}

/** One conversation: a bag of features. */
export interface ChatConversation {
  readonly id: string
  /** Undefined while unknown, and after leaving. */
  readonly summary: Observable<ConversationSummary | undefined>
  readonly messages: Messages
  readonly typing: Typing
  readonly members: Members
  readonly live: LiveValues
  /** Presence of the members the summary names, watched while somebody listens. */
  readonly presence: Observable<ReadonlyMap<string, Presence>>
  readonly unread: Observable<number>
  /** How far each member has read, by user id; loaded and followed while somebody listens. */
  readonly readMarkers: Observable<ReadonlyMap<string, number>>
  /** Moves my read marker to `seq`, or to the newest message. It never goes back; calls are cheap and are merged. */
  markRead(seq?: number): Promise<void>
}

/** What to write. Text is Markdown; a message needs text, an attachment or data. */
export interface MessageDraft {
  readonly text: string
  /** The seq of the message it answers. */
  readonly replyTo?: number
  readonly attachments?: readonly string[]
  readonly data?: Json
}

/** What `send` returns: the message is stored on this device and shown. */
export interface SentMessage {
  readonly clientId: string
  /** Ends when the server has stored it, which may be after a long time offline; rejects only if it was refused for good. */
  readonly acknowledged: Promise<Acknowledgement>
}

export interface Acknowledgement {
  readonly seq: number
  readonly createdAt: string
}

/** A message of mine that the timeline does not contain yet. */
export interface OutboxItem {
  readonly clientId: string
  readonly conversation: string
  readonly draft: MessageDraft
  /** When it was written, by this device's clock; for display only. */
  readonly createdAt: string
  readonly status: OutboxStatus
}

export type OutboxStatus =
  | { readonly state: 'pending'; readonly attempts: number }
  /** Stored by the server; its change is on the way. */
  | { readonly state: 'acknowledged'; readonly seq: number; readonly createdAt: string }
  /** Refused for good: the user may `retry` or `discard` it. */
  | { readonly state: 'failed'; readonly error: ErrorBody }

/** One row of a conversation. `key` stays the same from pending to stored. */
export type TimelineItem =
  | { readonly kind: 'message'; readonly key: string; readonly message: PageMessage; readonly isMine: boolean }
  | { readonly kind: 'pending'; readonly key: string; readonly item: OutboxItem }

/** What is loaded of one conversation. */
export interface TimelineView {
  /** In order; waiting messages last. */
  readonly items: readonly TimelineItem[]
  /** False until the first page has come from the store or the server. */
  readonly isLoaded: boolean
  readonly hasOlder: boolean
  /** True when the view stands somewhere in the past (after `loadAround`), so new messages are not shown in it. */
  readonly hasNewer: boolean
  readonly loading: 'nothing' | 'newest' | 'older' | 'newer' | 'around'
}

/** The messages of one conversation. */
export interface Messages {
  /** Loads the newest page when somebody first listens. */
  readonly view: Observable<TimelineView>
  /**
   * Stores the message on this device, shows it, and sends it when it can, in order, without loss or duplicate.
   *
   * ```ts
   * const sent = await conversation.messages.send({ text: 'hello' }) // shown as pending
   * const { seq } = await sent.acknowledged // stored by the server
   * ```
   */
  send(draft: MessageDraft): Promise<SentMessage>
  /** Sends a failed message again, as a new attempt with the same identity. */
  retry(clientId: string): Promise<void>
  /** Deletes a failed message, or one that has not been tried yet. */
  discard(clientId: string): Promise<void>
  /** Shown at once; taken back, and rejected, when the server refuses. The same holds for the next three. */
  edit(seq: number, text: string): Promise<void>
  delete(seq: number): Promise<void>
  react(seq: number, emoji: string): Promise<void>
  unreact(seq: number, emoji: string): Promise<void>
  /** Loads the page before what is loaded; nothing when there is none or it is loading. */
  loadOlder(): Promise<void>
  loadNewer(): Promise<void>
  /** Shows the page around a message, for instance a search result or the target of a reply. */
  loadAround(seq: number): Promise<void>
  /** Back to the newest page. */
  loadNewest(): Promise<void>
  /** One message, from what is loaded or from the server. */
  get(seq: number): Promise<PageMessage>
}

/** Who is typing. */
export interface Typing {
  /** Ids of the others who are typing now. */
  readonly users: Observable<readonly string[]>
  /** Call it on every key press; it is sent at most every three seconds. */
  start(): void
  stop(): void
}

/** All members of one conversation. */
export interface Members {
  /** Loaded while somebody listens, and kept up to date by the log. Undefined until loaded. At most 1000. */
  readonly list: Observable<readonly Member[] | undefined>
  /** Loads again. */
  load(): Promise<readonly Member[]>
  add(user: string, role?: Role): Promise<Member>
  remove(user: string): Promise<void>
  setRole(user: string, role: Role): Promise<Member>
}

/** Latest-value-wins state of one conversation: `typing`, `location`, or keys of the application's own. */
export interface LiveValues {
  /** Sets my value under a key; it expires by itself after `ttlMs`. Not retried: the next value replaces it anyway. */
  set(key: string, value: Json, ttlMs: number): Promise<void>
  /** The values under a key by user id, without those that have expired. */
  observe(key: string): Observable<ReadonlyMap<string, LiveValue>>
}

/** Profiles: asked for in batches, kept bounded. */
export interface Users {
  /** Undefined until it has come; asking begins with the first `get` or listener. */
  observe(id: string): Observable<User | undefined>
  /** From the cache, or from the server. */
  get(id: string): Promise<User>
}

/** Presence of people I share a conversation with. */
export interface PresenceWatcher {
  /** Presence of one user, watched while somebody listens (at most 100 at a time; the rest are `unknown`). */
  observe(user: string): Observable<Presence>
  /** Watches several until `close` is called. */
  watch(users: readonly string[]): PresenceWatch
  /** Says whether the person at this device is there. Said again after each reconnection. */
  setStatus(status: 'online' | 'away'): Promise<void>
}

export interface PresenceWatch {
  readonly presence: Observable<ReadonlyMap<string, Presence>>
  close(): void
}
