/**
 * Public interfaces of one conversation: its summary, members, typing indicator and live values.
 * The conventions of `api.ts` apply.
 */
import type { Conversation, Json, LiveValue, Member, Presence, Role } from '@chorus/protocol'
import type { Observable } from '../support/observable.ts'
import type { Messages } from './api-messages.ts'

/**
 * A conversation in the conversation list: the server's object, kept up to date, plus the time by
 * which the list is sorted.
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
  /**
   * The conversation as the conversation list shows it. Undefined until it is loaded, and after I
   * have left.
   */
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
   * Presence by user id, for the members in the summary except me (at most 5). Updated while there
   * is a listener.
   */
  readonly presence: Observable<ReadonlyMap<string, Presence>>
  /** Number of unread messages by other members. Stops at 1000, which means "1000 or more". */
  readonly unread: Observable<number>
  /**
   * Read markers by user id: the seq up to which each member has read. Loaded and kept up to date
   * while there is a listener. In conversations of more than 100 members, the map contains only
   * members in the summary and members whose marker has moved since.
   */
  readonly readMarkers: Observable<ReadonlyMap<string, number>>
  /**
   * Moves my read marker forward to `seq`, or to the newest message. A lower seq has no effect. The
   * local copy changes at once, and calls during a request share the next request. If the request
   * fails, the promise rejects and the marker is sent again after the next reconnect.
   */
  markRead(seq?: number): Promise<void>
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
   * user does not exist, or if I am not a member of the conversation.
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
 * Short-lived values of one conversation. For each user and key only the newest value is kept, and
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
