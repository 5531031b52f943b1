/**
 * What survives a reload: who is signed in, the outbox, the conversations with their cached messages, and the cursor.
 * Promises of every store: a commit is all or nothing; a cursor is written only together with what it covers; a
 * conversation never goes back to a lower seq within one epoch; everything is keyed by user.
 *
 * Several clients (tabs) may write to one store, each with its own cursor, and some lag. So a commit is judged against
 * what the store holds (`store-merge.ts`): within one epoch entries are merged and never deleted, and data of another
 * epoch, or data that was cleared, is replaced only by a client that has seen that generation of the store.
 */
import type { Conversation, ErrorBody, Json, PageMessage, User } from '@chorus/protocol'
import type { Observable } from './observable.ts'

/**
 * Where this device keeps its copy and the waiting messages. `memory`: the program ended or the page left, they are lost.
 */
export type StorageState = 'persistent' | 'memory'

/** Who uses this device. */
export interface AccountRecord {
  readonly user: User
  /** The cookies of a client that keeps them itself (Node); browsers keep their own. */
  readonly cookies?: { readonly [name: string]: string }
}

/** One waiting message. */
export interface OutboxRecord {
  readonly clientId: string
  readonly conversation: string
  /** Orders the messages of this store; larger is later. */
  readonly order: number
  readonly draft: {
    readonly text: string
    readonly replyTo?: number
    readonly attachments?: readonly string[]
    readonly data?: Json
  }
  readonly createdAt: string
  readonly status:
    | { readonly state: 'pending'; readonly attempts: number }
    | { readonly state: 'acknowledged'; readonly seq: number; readonly createdAt: string }
    | { readonly state: 'failed'; readonly error: ErrorBody }
}

/** One conversation as it was last seen. */
export interface ConversationRecord {
  readonly id: string
  /** Every change up to here has been given to the application. */
  readonly appliedSeq: number
  /** Missing until the server has answered for a conversation that was just joined, and after leaving. */
  readonly summary?: Conversation
  /** The seq that `summary.unread` reflects, where it is not `summary.seq`. */
  readonly unreadAsOfSeq?: number
  /** The unread counts of two clients could not be merged: ask the server. */
  readonly isUnreadUnsure?: true
  /** The user has left it. Kept until a cursor covers that, so that a resume from before does not tell it twice. */
  readonly left?: true
  /** The newest messages, if they are kept: each with the seq its reactions and text reflect. */
  readonly window?: WindowRecord
}

/**
 * The position of a conversation whose leaving is covered by a cursor. Kept, so that a client that lags cannot bring the
 * conversation back.
 */
export interface RemovedRecord {
  readonly id: string
  readonly appliedSeq: number
}

export interface WindowRecord {
  readonly hasBefore: boolean
  readonly messages: readonly { readonly message: PageMessage; readonly asOfSeq: number }[]
}

/** The local copy of one user. */
export interface ReplicaRecord {
  readonly epoch: string
  readonly cursor: string
  /** Changes whenever the data is cleared or replaced by another epoch's. */
  readonly generation: string | undefined
  readonly conversations: readonly ConversationRecord[]
  readonly removed: readonly RemovedRecord[]
}

/** Written in one transaction. */
export interface ReplicaCommit {
  readonly epoch: string
  /** The generation this client has seen; undefined for a store that was never written. */
  readonly base: string | undefined
  /** Left out when nothing new is covered. */
  readonly cursor?: string
  readonly conversations: readonly ConversationRecord[]
  readonly removed: readonly RemovedRecord[]
  /** The commit holds everything this client has (a first load), so it may begin a generation or join one of its epoch. */
  readonly replace?: boolean
}

/** The result of a commit. */
export type CommitOutcome =
  | {
      readonly kind: 'stored'
      readonly generation: string | undefined
      /**
       * Conversations that the store has from another client and a commit with `replace` did not name. While there are
       * any, the cursor is not written: it may cover that they were left.
       */
      readonly foreign: readonly ConversationRecord[]
    }
  /** Another client has cleared or replaced the data since `base`: nothing was written. */
  | { readonly kind: 'refused'; readonly epoch: string | undefined; readonly generation: string | undefined }

/** Implemented in memory, in IndexedDB and in a file; one suite of tests runs on all. */
export interface ChatStore {
  readAccount(): Promise<AccountRecord | undefined>
  writeAccount(account: AccountRecord | undefined): Promise<void>
  readReplica(userId: string): Promise<ReplicaRecord | undefined>
  /** The generation of a user's data, also where there is none to read. */
  readGeneration(userId: string): Promise<string | undefined>
  commitReplica(userId: string, commit: ReplicaCommit): Promise<CommitOutcome>
  readOutbox(userId: string): Promise<readonly OutboxRecord[]>
  /** Adds or replaces by clientId. An acknowledged message never becomes a waiting one again: another tab lags. */
  putOutbox(userId: string, record: OutboxRecord): Promise<void>
  removeOutbox(userId: string, clientIds: readonly string[]): Promise<void>
  /** Forgets the conversations and cursor of a user, and with `outbox` their waiting messages too. */
  clear(userId: string, what: { readonly outbox: boolean }): Promise<void>
  /** Whether data outlives the program; may change while it runs. Without it, the data is taken to be persistent. */
  readonly storage?: Observable<StorageState>
  /** True when several clients (tabs) may work on the same data at once. */
  readonly isShared: boolean
  close(): Promise<void>
}
