/**
 * What survives a reload: who is signed in, the outbox, the conversations with their cached messages, and the cursor.
 * Promises of every store: a commit is all or nothing; a cursor is written only together with what it covers; a
 * conversation never goes back to a lower seq within one epoch (two tabs share one store); everything is keyed by user.
 */
import type { Conversation, ErrorBody, Json, PageMessage, User } from '@chorus/protocol'

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
  readonly summary: Conversation
  /** Every change up to here has been given to the application. */
  readonly appliedSeq: number
  /** The seq that `summary.unread` reflects, where it is not `summary.seq`. */
  readonly unreadAsOfSeq?: number
  /** The user has left it. Kept until a cursor covers that, so that a resume from before does not tell it twice. */
  readonly left?: true
  /** The newest messages, if they are kept: each with the seq its reactions and text reflect. */
  readonly window?: WindowRecord
}

export interface WindowRecord {
  readonly hasBefore: boolean
  readonly messages: readonly { readonly message: PageMessage; readonly asOfSeq: number }[]
}

/** The local copy of one user. */
export interface ReplicaRecord {
  readonly epoch: string
  readonly cursor: string
  readonly conversations: readonly ConversationRecord[]
}

/** Written in one transaction. */
export interface ReplicaCommit {
  readonly epoch: string
  /** Left out when nothing new is covered. */
  readonly cursor?: string
  /** Written unless the store has the same conversation at a higher `appliedSeq`. */
  readonly conversations: readonly ConversationRecord[]
  readonly removed: readonly string[]
  /** Forget the conversations and cursor of before: this is a first load. Without it, a commit of another epoch is dropped. */
  readonly replace?: boolean
}

/** Implemented in memory, in IndexedDB and in a file; one suite of tests runs on all. */
export interface ChatStore {
  readAccount(): Promise<AccountRecord | undefined>
  writeAccount(account: AccountRecord | undefined): Promise<void>
  readReplica(userId: string): Promise<ReplicaRecord | undefined>
  commitReplica(userId: string, commit: ReplicaCommit): Promise<void>
  readOutbox(userId: string): Promise<readonly OutboxRecord[]>
  /** Adds or replaces by clientId. */
  putOutbox(userId: string, record: OutboxRecord): Promise<void>
  removeOutbox(userId: string, clientIds: readonly string[]): Promise<void>
  /** Forgets the conversations and cursor of a user, and with `outbox` their waiting messages too. */
  clear(userId: string, what: { readonly outbox: boolean }): Promise<void>
  /** True when several clients (tabs) may work on the same data at once. */
  readonly isShared: boolean
  close(): Promise<void>
}
