/**
 * Public interfaces of messages: loaded messages, drafts, and messages in the outbox. The
 * conventions of `api.ts` apply.
 */
import type { ErrorBody, Json, Message, PageMessage } from '@chorus/protocol'
import type { Observable } from '../support/observable.ts'
import type { ActOutcome, CardAct, CardState } from './api-cards.ts'

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
  /**
   * Id that the message keeps in every attempt and in the log. It is also the `key` of the message
   * in the timeline.
   */
  readonly clientId: string
  /**
   * Resolves when the server has stored the message. While offline, this can take long. Rejects
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
  /** Stored by the server. The timeline does not contain the message yet. */
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
   * message. Rejects with `conflict` if the message may already have been sent.
   */
  discard(clientId: string): Promise<void>
  /**
   * Replaces the text of one of my messages (1 to 20 000 UTF-16 code units). The new text is shown
   * at once; if the request fails, the old text returns and the promise rejects. Rejects with
   * `forbidden` if I am not the sender, and with `rate-limited` also if 100 edits, deletions and
   * reactions are pending in this conversation.
   */
  edit(seq: number, text: string): Promise<void>
  /**
   * Deletes a message for all members. The deletion is shown at once, and reverted if the request
   * fails. An empty message with `deletedAt` remains. Rejects with `forbidden` unless I am its
   * sender, an owner or a moderator.
   */
  delete(seq: number): Promise<void>
  /**
   * Adds my reaction to a message. It is shown at once, and removed again if the request fails.
   * `emoji` is a single emoji. Rejects with `too-large` if the message already has 50 different
   * emoji. Repeating a reaction has no effect.
   */
  react(seq: number, emoji: string): Promise<void>
  /**
   * Removes my reaction from a message. The removal is shown at once, and reverted if the request
   * fails.
   */
  unreact(seq: number, emoji: string): Promise<void>
  /**
   * Returns whether the card of a message is genuine. Show only the card of the state `verified`:
   * its fields are those that the server signed for this message. Undefined for a message without a
   * card. The first listener starts the check.
   */
  card(message: Message): Observable<CardState | undefined>
  /**
   * Takes an action of a card. The server stores the first act on a version; any other one is
   * `stale`, and the view then shows the current card. An act is not stored for later, because the
   * card may change until it connects: without a connection the promise rejects with `unavailable` at once,
   * and with `unknown` after three attempts without a response. Rejects with `forbidden` if `by`
   * excludes me, and `not-found` if the card does not list the action.
   */
  act(act: CardAct): Promise<ActOutcome>
  /**
   * Loads the page of up to 50 messages before the loaded ones. Does nothing if there are no older
   * messages or a page is already loading.
   */
  loadOlder(): Promise<void>
  /**
   * Loads the page of up to 50 messages after the loaded ones, with the same rules as `loadOlder`.
   */
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
