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
  Json,
  Member,
  Role,
  Session,
  SyncPage,
  User,
} from '@chorus/protocol'
import type { Clock } from '../support/clock.ts'
import type { Observable } from '../support/observable.ts'
import type { ChatConversation, ConversationSummary } from './api-conversation.ts'
import type { OutboxItem } from './api-messages.ts'
import type { PresenceWatcher, Users } from './api-users.ts'
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
  /**
   * Returns a user token that the application's back end has signed for its signed-in user. With
   * it, the client signs in by tokens instead of cookies, also on pages of other sites
   * (`EMBED_ORIGINS`). It is called when a token is needed and before the token ends; the open
   * connection stays open under the new token. When it rejects, it is called again after a
   * back-off. When it rejects with a `ChorusError` of the code `unauthenticated`, or the server
   * refuses four tokens in a row, the client is signed out with the reason `token-refused`; unsent
   * messages stay, and `start()` begins again. When your user signs out, call `signOut()`.
   */
  readonly getToken?: () => Promise<string>
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
  /**
   * Source of time, timers and random numbers. Default: those of the system. Tests pass a simulated
   * clock.
   */
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
   * `session` is missing until the server has confirmed the session, for instance while offline
   * after a start.
   */
  | { readonly status: 'signed-in'; readonly user: User; readonly session?: Session }

/**
 * Reason for being signed out. `asked`: the application called `signOut`, or no user has signed in
 * on this device. `revoked`: the server ended the session. `token-refused`: the server
 * accepts no token of `getToken`.
 */
export type SignedOutReason = 'asked' | 'revoked' | 'token-refused'

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
   * also tries from time to time.
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
   * Whether the local data survives a reload: `persistent` or `memory`. It is `memory` for a store
   * in memory, and after the browser refused or lost its database. The value can change at run
   * time.
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
   * Disconnects and writes the store. Waits at most 30 s until the store has written the data, and
   * at most 30 s until it has closed. `start()` may be called again afterwards.
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
   * Ends the session on the server and deletes all data of this user from this device, including
   * pending messages. Rejects if the server cannot be reached; the session then stays alive and
   * nothing is deleted.
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
   * calls. After a call of `onLimited`, the conversation continues with the changes after the seq
   * given there.
   */
  onChange(callback: (change: ChangeNotice) => void): () => void
  /**
   * Registers a callback for skipped changes and returns a function that removes it. The callback
   * runs when changes of a conversation up to `seq` were not given to `onChange`: there were too
   * many to replay, they date from before I joined, or only another client of the same store
   * received them. An application that follows the log should then read the newest page of
   * messages.
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
   * The change. Ignore a change whose type your version does not know: of newer types, the server
   * may send only `{seq, type, at, actor}`.
   */
  readonly change: Change
}
