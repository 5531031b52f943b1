/**
 * Interface of the stores: the data that survives a reload. It contains the signed-in account, the
 * outbox, the conversations with their cached messages, and the cursor.
 *
 * Every store guarantees: a commit is applied completely or not at all. A cursor is written only
 * together with the data that it covers. A conversation never goes back to a lower seq within one
 * epoch. All data is keyed by user.
 *
 * Several clients (tabs) may write to one store, each with its own cursor, and the data of some may
 * be outdated. So each commit is checked against the stored data (`store-merge.ts`). Within one
 * epoch, entries are merged and never deleted. Cleared data, or data of another epoch, is replaced
 * only by a client that has read the current generation of the store (an id that changes when the
 * data is cleared or replaced).
 */
import type { Conversation, ErrorBody, Json, PageMessage, User } from '@chorus/protocol'
import type { Observable } from '../support/observable.ts'

/**
 * Where this device keeps the local copy and the pending messages. `persistent`: they survive a
 * reload. `memory`: they are lost when the program ends or the page is left.
 */
export type StorageState = 'persistent' | 'memory'

/** The account that is signed in on this device. */
export interface AccountRecord {
  readonly user: User
  /**
   * Session cookies by name, for clients that keep cookies themselves (Node). Browsers keep the
   * cookies outside of this store.
   */
  readonly cookies?: { readonly [name: string]: string }
}

/** One message of the outbox, as it is stored. */
export interface OutboxRecord {
  /** Id that the message keeps in every attempt. Unique within the outbox. */
  readonly clientId: string
  readonly conversation: string
  /** Sort key of the messages in this store. A larger number means a later message. */
  readonly order: number
  readonly draft: {
    readonly text: string
    readonly replyTo?: number
    readonly attachments?: readonly string[]
    readonly data?: Json
  }
  /** Time of writing by this device's clock (ISO 8601). */
  readonly createdAt: string
  /** Sending status of the message, as in `OutboxItem`. */
  readonly status:
    | { readonly state: 'pending'; readonly attempts: number }
    | { readonly state: 'acknowledged'; readonly seq: number; readonly createdAt: string }
    | { readonly state: 'failed'; readonly error: ErrorBody }
}

/** One conversation as it was last known. */
export interface ConversationRecord {
  readonly id: string
  /** Highest seq up to which every change has been given to the application. */
  readonly appliedSeq: number
  /**
   * Conversation as last known. Missing after the user left, and after the user joined until the
   * server has responded.
   */
  readonly summary?: Conversation
  /** Seq at which `summary.unread` was counted, if it differs from `summary.seq`. */
  readonly unreadAsOfSeq?: number
  /**
   * Set when the unread counts of two clients could not be merged. A client must then request the
   * count from the server.
   */
  readonly isUnreadUnsure?: true
  /**
   * Set when the user has left the conversation. Kept until a cursor covers the departure, so that
   * a resume from an earlier cursor does not report it twice.
   */
  readonly left?: true
  /** Newest messages of the conversation, if they are stored. */
  readonly window?: WindowRecord
}

/**
 * Conversation that the user left, with the seq up to which its changes were applied. Stored once a
 * cursor covers the departure, so that a client with outdated data cannot restore the conversation.
 */
export interface RemovedRecord {
  readonly id: string
  readonly appliedSeq: number
}

/**
 * Newest messages of one conversation, oldest first. `asOfSeq` is the seq up to which the text and
 * the reactions of a message are current.
 */
export interface WindowRecord {
  readonly hasBefore: boolean
  readonly messages: readonly { readonly message: PageMessage; readonly asOfSeq: number }[]
}

/** Local copy of one user's conversations. */
export interface ReplicaRecord {
  readonly epoch: string
  readonly cursor: string
  /**
   * Identifier that changes whenever the stored data is cleared, is replaced by data of another
   * epoch, or gains a conversation.
   */
  readonly generation: string | undefined
  readonly conversations: readonly ConversationRecord[]
  readonly removed: readonly RemovedRecord[]
}

/** Data that one client writes in one transaction. */
export interface ReplicaCommit {
  readonly epoch: string
  /**
   * Generation of the stored data that this client last read. Undefined for a store that was never
   * written.
   */
  readonly base: string | undefined
  /**
   * Cursor up to which the stored data is complete after this commit. Left out when it has not
   * moved.
   */
  readonly cursor?: string
  readonly conversations: readonly ConversationRecord[]
  readonly removed: readonly RemovedRecord[]
  /**
   * True when the commit contains the whole local copy of this client (after a first load). Only
   * such a commit may write to cleared data, or to a generation of the same epoch that this client
   * has not read.
   */
  readonly replace?: boolean
}

/** Result of a commit. */
export type CommitOutcome =
  | {
      readonly kind: 'stored'
      /** Generation of the stored data after this commit. */
      readonly generation: string | undefined
      /**
       * Conversations that another client stored and that a commit with `replace` did not name. The
       * user may have left them. While the list is not empty, the cursor is not written, so that a
       * departure is not missed.
       */
      readonly foreign: readonly ConversationRecord[]
    }
  /** Another client has cleared or replaced the data since `base`. Nothing was written. */
  | { readonly kind: 'refused'; readonly epoch: string | undefined; readonly generation: string | undefined }

/**
 * Storage for one device. Implemented in memory, in IndexedDB and in a file; one test suite runs on
 * all three. Applications may implement their own. Methods that write resolve after the data is
 * stored and reject if it cannot be stored.
 */
export interface ChatStore {
  /** Returns the signed-in account, or undefined if there is none. */
  readAccount(): Promise<AccountRecord | undefined>
  /** Replaces the signed-in account, or deletes it with undefined. */
  writeAccount(account: AccountRecord | undefined): Promise<void>
  /**
   * Returns the id of this device. Stores `fresh` as the id if there is none yet. It stays when users
   * sign out. If missing, each client is a device of its own.
   */
  readDevice?(fresh: string): Promise<string>
  /** Returns the local copy of a user, or undefined until a first load is complete. */
  readReplica(userId: string): Promise<ReplicaRecord | undefined>
  /** Returns the generation of a user's data, also when there is no complete data to read. */
  readGeneration(userId: string): Promise<string | undefined>
  /** Merges a commit into the local copy in one transaction, or refuses it. See `CommitOutcome`. */
  commitReplica(userId: string, commit: ReplicaCommit): Promise<CommitOutcome>
  /** Returns the outbox of a user, sorted by `order`. */
  readOutbox(userId: string): Promise<readonly OutboxRecord[]>
  /**
   * Adds or replaces a message by clientId. An acknowledged message never becomes a pending one
   * again, because a tab that writes the older state has outdated data.
   */
  putOutbox(userId: string, record: OutboxRecord): Promise<void>
  /** Deletes messages from the outbox of a user. Unknown ids are ignored. */
  removeOutbox(userId: string, clientIds: readonly string[]): Promise<void>
  /**
   * Deletes the conversations and the cursor of a user, and with `outbox: true` also the pending
   * messages.
   */
  clear(userId: string, what: { readonly outbox: boolean }): Promise<void>
  /**
   * Whether the data survives a restart. The value can change at run time. If missing, the data
   * counts as persistent.
   */
  readonly storage?: Observable<StorageState>
  /** True when several clients (tabs) may use the same data at the same time. */
  readonly isShared: boolean
  /** Waits for running writes and releases the storage. The store may be used again afterwards. */
  close(): Promise<void>
}
