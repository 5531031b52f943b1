/**
 * Public interfaces of the client. A value that changes over time is an `Observable`. A method that
 * asks the server returns a promise, which resolves with the result or rejects with a
 * `ChorusError`.
 *
 * Conventions: an id is a UUID string. A seq is a positive integer: the position of a change in the
 * log of its conversation (1, 2, 3 …); a message is named by its conversation and the seq of the
 * change that created it. Times are ISO 8601 strings in UTC. Durations are in milliseconds. "I" and
 * "my" mean the signed-in user.
 *
 * Every method that asks the server can reject with these codes, besides those that it names:
 * `unauthenticated` (no valid session), `invalid` (malformed argument), `rate-limited` (wait
 * `retryAfterMs`), `unavailable` (certainly not done, for instance while offline) and `unknown`
 * (may have been done, because the response is missing). Requests that fail with `unavailable` are
 * retried once, within about two seconds, before they reject.
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
import type { Clock } from '../support/clock.ts'
import type { Observable } from '../support/observable.ts'
import type { ChatStore, StorageState } from './store.ts'

/** Options of `createChatClient`. Only `url` is required. */
export interface ChatClientOptions {
  /**
   * Address of the server, such as `https://chat.example.org` or `https://example.org/chat`. In a
   * browser usually `location.origin`. Must be http or https, without query, fragment and
   * credentials.
   */
  readonly url: string
  /**
   * Storage for the data that survives a reload: `createMemoryStore()` (the default, which survives
   * nothing), `createIndexedDbStore()`, or `createFileStore()` from `@chorus/client/node`.
   */
  readonly store?: ChatStore
  /** Replacement for the global `fetch`, for instance in tests. */
  readonly fetch?: typeof fetch
  /**
   * Transports to use, in order of preference. Default: WebSocket by Socket.IO, then Server-Sent
   * Events with POST.
   */
  readonly transports?: readonly TransportName[]
  /**
   * Value of the `User-Agent` header, which names the device in the list of sessions. Ignored in
   * browsers.
   */
  readonly userAgent?: string
  /** Source of time, timers and random numbers. Default: the system's; tests use their own. */
  readonly clock?: Clock
  /**
   * Called with errors that no promise reports, such as a throwing callback or a failing store.
   * Default: `console.error`.
   */
  readonly onError?: (error: unknown) => void
}

/** Name of a transport: WebSocket by Socket.IO, or Server-Sent Events with POST requests. */
export type TransportName = 'socket-io' | 'sse'

/** The user who is signed in on this device, if any. */
export type SessionState =
  /** Not known yet: `start()` has not finished, or the server could not be reached. */
  | { readonly status: 'unknown' }
  | { readonly status: 'signed-out'; readonly reason: SignedOutReason }
  /**
   * `session` is missing until the server has confirmed the session, for instance after a start
   * while offline.
   */
  | { readonly status: 'signed-in'; readonly user: User; readonly session?: Session }

/**
 * Reason for being signed out. `asked`: by `signOut`, or never signed in here. `revoked`: the
 * server ended the session.
 */
export type SignedOutReason = 'asked' | 'revoked'

/**
 * State of the connection, for instance for a banner. Changes arrive immediately only in `ready`
 * and `moving`. `attempt` counts the failed attempts since the last stable connection.
 */
export type ConnectionStatus =
  /** Not started, or stopped. */
  | { readonly state: 'idle' }
  | { readonly state: 'connecting'; readonly attempt: number }
  /** Connected. The changes missed while disconnected are arriving. */
  | { readonly state: 'replaying'; readonly transport: TransportName }
  /** Connected and up to date. */
  | { readonly state: 'ready'; readonly transport: TransportName }
  /** The old connection still works while a new one opens. */
  | { readonly state: 'moving'; readonly transport: TransportName }
  /**
   * Not connected. The next attempt starts `retryInMs` milliseconds after this state began: up to
   * 30 s, or longer if the server asks for it.
   */
  | { readonly state: 'waiting'; readonly attempt: number; readonly retryInMs: number }
  /**
   * The device reports that it has no network. The client reconnects when the network is back, and
   * tries now and then.
   */
  | { readonly state: 'offline' }
  /**
   * Not connected, without further attempts. `message` is a sentence in the form `unable to X; Y`.
   */
  | { readonly state: 'closed'; readonly reason: ClosedReason; readonly message: string }

/**
 * Reason for `closed`. `revoked`: the session has ended. `refused`: the server reported that a
 * retry is useless.
 */
export type ClosedReason = 'revoked' | 'refused'

/**
 * State of the local copy. `empty`: no data yet. `cached`: data from the store. `loading`: the
 * first load from the server is running. `live`: complete, and kept up to date while connected.
 */
export type DataState = 'empty' | 'cached' | 'loading' | 'live'

/** Client of one Chorus server, for one signed-in device. Created by `createChatClient`. */
export interface ChatClient {
  /** The signed-in user. */
  readonly session: Observable<SessionState>
  /** State of the connection to the server. */
  readonly connection: Observable<ConnectionStatus>
  /** State of the local copy. */
  readonly data: Observable<DataState>
  /**
   * Whether the local data survives a reload. `memory` without a persistent store, or after the
   * browser refused or lost its database; the value can change at run time.
   */
  readonly storage: Observable<StorageState>
  /** My conversations, the most recently active first. */
  readonly conversations: Observable<readonly ConversationSummary[]>
  /** Total number of unread messages. Each conversation counts up to 1000. */
  readonly unread: Observable<number>
  /**
   * My messages that are pending, refused, or acknowledged but not yet in the timeline, in the
   * order of writing. At most 1000.
   */
  readonly outbox: Observable<readonly OutboxItem[]>
  /** User profiles. */
  readonly users: Users
  /** Presence of users. */
  readonly presence: PresenceWatcher

  /**
   * Loads the stored data, finds out which user is signed in, and connects if there is one. Call it
   * once. Resolves before the connection is open; while the server cannot be reached, the client
   * keeps trying in the background. Rejects if the store cannot be read.
   */
  start(): Promise<void>
  /**
   * Disconnects and writes the store. Waits up to 30 s for each of the two steps of the store,
   * writing and closing. `start()` may be called again afterwards.
   */
  stop(): Promise<void>

  /**
   * Creates an account and signs in. Rejects with `conflict` if the handle is taken, and
   * `forbidden` if the server allows no new accounts. `handle`: 1 to 32 ASCII letters, digits,
   * dots, dashes and underscores. `password`: 8 to 256 characters. `name`: 1 to 100 characters on
   * one line.
   */
  signUp(request: { readonly handle: string; readonly password: string; readonly name: string }): Promise<User>
  /** Signs in. Rejects with `unauthenticated` if the handle or the password is wrong. */
  signIn(request: { readonly handle: string; readonly password: string }): Promise<User>
  /**
   * Ends the session on the server and deletes everything this user stored here, including pending
   * messages. Rejects if the server cannot be reached; the session then stays alive and nothing is
   * deleted.
   */
  signOut(): Promise<void>
  /** Returns the sessions of my signed-in devices, the newest first, at most 200. */
  sessions(): Promise<readonly Session[]>
  /**
   * Signs out one of my devices, by session id. Rejects with `not-found` if I have no session with
   * this id.
   */
  revokeSession(id: string): Promise<void>
  /**
   * Changes my profile and returns it. Fields that are left out keep their value. `avatar` is an
   * https address or a path on the server, up to 2048 characters; null removes it. Rejects with
   * `conflict` if the handle is taken.
   */
  updateProfile(patch: {
    readonly handle?: string
    readonly name?: string
    readonly avatar?: string | null
  }): Promise<User>
  /** Returns the application's own JSON object that the server keeps with this session. */
  sessionData(): Promise<{ readonly [key: string]: Json }>
  /**
   * Merges top-level keys into the session data and returns the whole object. Rejects with
   * `too-large` if the object would exceed 8192 bytes of JSON.
   */
  updateSessionData(patch: { readonly [key: string]: Json }): Promise<{ readonly [key: string]: Json }>

  /**
   * Returns the object of one conversation, always the same object for one id until sign-out or
   * `stop`. This call sends no request. Without a signed-in user the object is empty, and its
   * methods reject with `unauthenticated`.
   */
  conversation(id: string): ChatConversation
  /**
   * Creates a conversation with me as its owner. `direct` needs exactly one other member and no
   * name, and returns the existing conversation if there is one. `channel` needs a name. `name`: 1
   * to 100 characters. `members`: at most 100 user ids. Rejects with `not-found` if a member does
   * not exist. Makes up to four attempts, which never create a second conversation.
   */
  createConversation(request: {
    readonly kind: ConversationKind
    readonly name?: string
    readonly members?: readonly string[]
  }): Promise<ConversationSummary>
  /**
   * Returns users whose handle or name begins with `q` (up to 100 characters). `limit`: 1 to 200,
   * default 20.
   */
  findUsers(q: string, limit?: number): Promise<readonly User[]>
  /**
   * Returns public channels whose name contains `q` (up to 100 characters). `limit`: 1 to 200,
   * default 20. `role` is null in channels that I have not joined.
   */
  findChannels(q: string, limit?: number): Promise<readonly Conversation[]>
  /**
   * Joins a public channel. Rejects with `not-found` if there is no public channel with this id.
   */
  joinChannel(id: string): Promise<void>
  /**
   * Leaves a conversation. Rejects with `forbidden` if I am its last owner and other members
   * remain.
   */
  leave(id: string): Promise<void>
  /** Adds a member to a conversation. See `Members.add`. */
  addMember(conversation: string, user: string, role?: Role): Promise<Member>
  /** Removes a member from a conversation. See `Members.remove`. */
  removeMember(conversation: string, user: string): Promise<void>
  /** Changes the role of a member. See `Members.setRole`. */
  setRole(conversation: string, user: string, role: Role): Promise<Member>
  /**
   * Renames a group or channel. `name`: 1 to 100 characters. Rejects with `forbidden` unless I am
   * an owner or moderator, and in a direct conversation.
   */
  rename(conversation: string, name: string): Promise<void>

  /**
   * Returns one page of `GET /v1/sync` in its wire format, for tools. An application does not need
   * it: the client catches up by itself.
   */
  sync(cursor?: string): Promise<SyncPage>
  /**
   * Registers a callback for changes and returns a function that removes it. The callback runs
   * exactly once per (epoch, conversation, seq) of this store, in seq order within a conversation
   * (rule CLI1), after the change was applied to the local copy. Pages of older messages cause no
   * calls. A conversation reported to `onLimited` continues after the seq given there.
   */
  onChange(callback: (change: ChangeNotice) => void): () => void
  /**
   * Registers a callback for skipped changes and returns a function that removes it. The callback
   * runs when changes of a conversation up to `seq` were not given to `onChange`: they were too
   * many to replay, date from before I joined, or were received only by another client of the same
   * store. To follow the log, read the newest page of messages then.
   */
  onLimited(callback: (notice: { readonly conversation: string; readonly seq: number }) => void): () => void
}

/** A change of a conversation, as `onChange` reports it. */
export interface ChangeNotice {
  /** Identity of the database history. A seq is only meaningful within one epoch. */
  readonly epoch: string
  /** Id of the conversation. */
  readonly conversation: string
  /**
   * The change. Ignore types that your version does not know: the server may send `{seq, type, at,
   * actor}` of newer ones.
   */
  readonly change: Change
}

/**
 * A conversation in the conversation list: the server's object, kept up to date, plus the time that
 * orders the list.
 */
export interface ConversationSummary extends Conversation {
  /**
   * Time of the last message, or of the creation if there is none (ISO 8601, the database's clock).
   */
  readonly activeAt: string
}

/** One conversation, with its messages, members and live values. */
export interface ChatConversation {
  /** Id of the conversation. */
  readonly id: string
  /** The conversation as the list shows it. Undefined before it is loaded, and after leaving. */
  readonly summary: Observable<ConversationSummary | undefined>
  /** Messages of the conversation. */
  readonly messages: Messages
  /** Typing indicator. */
  readonly typing: Typing
  /** Full member list. */
  readonly members: Members
  /** Short-lived values that members share, such as a location. */
  readonly live: LiveValues
  /**
   * Presence by user id, for the members in the summary except me (at most 5). Watched while there
   * is a listener.
   */
  readonly presence: Observable<ReadonlyMap<string, Presence>>
  /** Number of unread messages by other members. Stops at 1000, which means "1000 or more". */
  readonly unread: Observable<number>
  /**
   * Read markers by user id: the seq up to which each member has read. Loaded and followed while
   * there is a listener. In conversations of more than 100 members, only markers of the members in
   * the summary and markers that move are present.
   */
  readonly readMarkers: Observable<ReadonlyMap<string, number>>
  /**
   * Moves my read marker forward to `seq`, or to the newest message. A lower seq has no effect. The
   * local copy changes at once, and calls during a request share the next request. If the request
   * fails, the promise rejects and the marker is sent again after the next reconnect.
   */
  markRead(seq?: number): Promise<void>
}

/** Content of a new message. It needs a text, an attachment or data. */
export interface MessageDraft {
  /** Markdown, up to 20 000 UTF-16 code units. May be empty if there are attachments or data. */
  readonly text: string
  /** Seq of the message that this one replies to, in the same conversation. */
  readonly replyTo?: number
  /** Attachment ids, at most 10. */
  readonly attachments?: readonly string[]
  /** Application data, up to 8192 bytes of JSON. */
  readonly data?: Json
}

/** Result of `send`: the message is stored on this device and shown. */
export interface SentMessage {
  /** Id that the message keeps in every attempt and in the log. Also its `key` in the timeline. */
  readonly clientId: string
  /**
   * Resolves when the server has stored the message, which can take long while offline. Rejects
   * only if the server refused it permanently (`ChorusError` with `retry: 'never'`), or with
   * `not-found` after `discard`. After `stop` or `signOut` it may stay pending forever.
   */
  readonly acknowledged: Promise<Acknowledgement>
}

/** The server's confirmation that a message is stored. */
export interface Acknowledgement {
  /** Seq of the message in its conversation. */
  readonly seq: number
  /** Time at which the server stored the message (ISO 8601). */
  readonly createdAt: string
}

/** A message of mine that the timeline does not contain yet. */
export interface OutboxItem {
  /** Id of the message, for `retry` and `discard`. */
  readonly clientId: string
  /** Id of the conversation. */
  readonly conversation: string
  /** Content of the message. */
  readonly draft: MessageDraft
  /** Time of writing by this device's clock (ISO 8601), for display only. */
  readonly createdAt: string
  /** Progress of the message. */
  readonly status: OutboxStatus
}

/** Progress of a message in the outbox. */
export type OutboxStatus =
  /** Waiting to be sent or in flight. `attempts` counts the failed attempts. */
  | { readonly state: 'pending'; readonly attempts: number }
  /** Stored by the server. Its change has not arrived yet. */
  | { readonly state: 'acknowledged'; readonly seq: number; readonly createdAt: string }
  /** Refused permanently. The user can `retry` or `discard` it. */
  | { readonly state: 'failed'; readonly error: ErrorBody }

/**
 * One row of a conversation: a stored message, or a message of mine that is not in the timeline
 * yet. `key` is unique in the list and stays the same when a pending message becomes a stored one.
 */
export type TimelineItem =
  | { readonly kind: 'message'; readonly key: string; readonly message: PageMessage; readonly isMine: boolean }
  | { readonly kind: 'pending'; readonly key: string; readonly item: OutboxItem }

/**
 * The loaded messages of one conversation: a contiguous range of up to 2000 messages, plus my
 * pending ones.
 */
export interface TimelineView {
  /** Rows, oldest first. Pending messages are last, and left out while `hasNewer` is true. */
  readonly items: readonly TimelineItem[]
  /** False until a first page has come from the store or the server. */
  readonly isLoaded: boolean
  /** True if older messages exist that are not loaded. */
  readonly hasOlder: boolean
  /**
   * True if newer messages exist that are not loaded, as after `loadAround`. New messages are then
   * not shown.
   */
  readonly hasNewer: boolean
  /** The page that is being loaded now. */
  readonly loading: 'nothing' | 'newest' | 'older' | 'newer' | 'around'
}

/** Messages of one conversation. */
export interface Messages {
  /** The loaded messages. The first listener makes the client load the newest page. */
  readonly view: Observable<TimelineView>
  /**
   * Stores the message on this device, shows it, and sends it as soon as possible. Messages are sent in
   * order, and none is lost or duplicated. Rejects with `invalid` if the draft is empty, `too-large` if the
   * text is too long or 1000 messages are already in the outbox, and `unavailable` if the device cannot store
   * the message.
   *
   * ```ts
   * const sent = await conversation.messages.send({ text: 'hello' }) // shown as pending
   * const { seq } = await sent.acknowledged // stored by the server
   * ```
   */
  send(draft: MessageDraft): Promise<SentMessage>
  /**
   * Sends a failed message again, after the messages written since. It keeps its `clientId`, except
   * after `conflict`. Rejects with `not-found` if no failed message has this id.
   */
  retry(clientId: string): Promise<void>
  /**
   * Deletes a message that failed or was never attempted. Does nothing if the outbox has no such
   * message. Rejects with `conflict` if it may already have been sent.
   */
  discard(clientId: string): Promise<void>
  /**
   * Replaces the text of one of my messages (1 to 20 000 UTF-16 code units). The new text is shown
   * at once; if the request fails, the old text returns and the promise rejects. `forbidden`: not
   * my message. `rate-limited`: also if 100 edits, deletions and reactions are pending in this
   * conversation.
   */
  edit(seq: number, text: string): Promise<void>
  /**
   * Deletes a message for all members, shown and reverted as with `edit`. An empty message with
   * `deletedAt` remains. Rejects with `forbidden` unless I am its sender, an owner or a moderator.
   */
  delete(seq: number): Promise<void>
  /**
   * Adds my reaction to a message, shown and reverted as with `edit`. `emoji` is a single emoji.
   * Rejects with `too-large` if the message already has 50 different emoji. Repeating a reaction
   * has no effect.
   */
  react(seq: number, emoji: string): Promise<void>
  /** Removes my reaction from a message, shown and reverted as with `edit`. */
  unreact(seq: number, emoji: string): Promise<void>
  /**
   * Loads the page before the loaded messages, up to 50 of them. Does nothing if there are no older
   * messages or a page is already loading.
   */
  loadOlder(): Promise<void>
  /** Loads the page after the loaded messages, with the same rules as `loadOlder`. */
  loadNewer(): Promise<void>
  /**
   * Replaces the view by the page around a message, for instance a search result or the target of a
   * reply.
   */
  loadAround(seq: number): Promise<void>
  /** Replaces the view by the newest page. */
  loadNewest(): Promise<void>
  /**
   * Returns one message, from the loaded ones or from the server. Rejects with `not-found` if it
   * does not exist.
   */
  get(seq: number): Promise<PageMessage>
}

/** Typing indicator of one conversation. */
export interface Typing {
  /** Ids of the other users who are typing now. An id disappears 6 s after its last signal. */
  readonly users: Observable<readonly string[]>
  /**
   * Signals that I am typing. Call it on every key press: it is sent at most every 3 s, and only
   * while connected.
   */
  start(): void
  /** Signals that I have stopped typing, for instance after sending. */
  stop(): void
}

/** Full member list of one conversation. */
export interface Members {
  /**
   * Members of the conversation, at most 1000. Undefined until loaded. The first listener makes the
   * client load the list, which is then kept up to date.
   */
  readonly list: Observable<readonly Member[] | undefined>
  /**
   * Loads the list again and returns it. Rejects with `not-found` if I may not see the
   * conversation.
   */
  load(): Promise<readonly Member[]>
  /**
   * Adds a user, with the role `member` by default, and returns the member. Rejects with
   * `forbidden` unless I am an owner or moderator of a group or channel, and `not-found` if the
   * user or the conversation does not exist for me.
   */
  add(user: string, role?: Role): Promise<Member>
  /**
   * Removes a member. Owners can remove every member, moderators only those with the role `member`.
   * Rejects with `forbidden` otherwise, and for the last owner while other members remain. Rejects
   * with `not-found` if the user is not a member.
   */
  remove(user: string): Promise<void>
  /**
   * Changes the role of a member and returns the member. Rejects with `forbidden` unless I am an
   * owner.
   */
  setRole(user: string, role: Role): Promise<Member>
}

/**
 * Short-lived values of one conversation. For each user and key only the newest value counts, and
 * it expires by itself. Well-known keys are `typing` and `location`; applications can use their
 * own. The server reserves `read`.
 */
export interface LiveValues {
  /**
   * Sets my value under a key; null ends it. `key`: up to 64 characters, a lower-case letter
   * followed by lower-case letters, digits, dots, dashes and underscores. `value`: up to 1024 bytes
   * of JSON. It expires after `ttlMs` milliseconds (1 to 60 000). Values are not queued while
   * offline.
   */
  set(key: string, value: Json, ttlMs: number): Promise<void>
  /**
   * Returns an observable of the unexpired values under a key, by user id (at most 1000). Empty
   * without a listener.
   */
  observe(key: string): Observable<ReadonlyMap<string, LiveValue>>
}

/** User profiles, loaded in batches and cached (at most 2000). */
export interface Users {
  /**
   * Returns an observable of a user's profile and requests the profile if it is missing. The value
   * is undefined until loaded, and for a user who does not exist.
   */
  observe(id: string): Observable<User | undefined>
  /**
   * Returns a profile from the cache or the server. Rejects with `not-found` if the user does not
   * exist.
   */
  get(id: string): Promise<User>
}

/**
 * Presence of users that share a conversation with me. Other users are `unknown`. At most 100 users
 * are watched at a time; further ones stay `unknown`. After 5 s without a connection all are
 * `unknown`. `lastSeen` is an ISO 8601 time or null.
 */
export interface PresenceWatcher {
  /** Returns an observable of one user's presence. The user is watched while it has a listener. */
  observe(user: string): Observable<Presence>
  /** Watches several users until `close` is called on the result. */
  watch(users: readonly string[]): PresenceWatch
  /**
   * Sets whether the user of this device is active (`online`) or not (`away`). `away` is sent again
   * after each reconnect.
   */
  setStatus(status: 'online' | 'away'): Promise<void>
}

/** Result of `PresenceWatcher.watch`. */
export interface PresenceWatch {
  /** Presence by user id. */
  readonly presence: Observable<ReadonlyMap<string, Presence>>
  /** Stops watching these users. */
  close(): void
}
