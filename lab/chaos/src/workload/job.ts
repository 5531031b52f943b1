/** Messages between the chaos run and its workload processes (drivers). */
import type { Person } from '../clients/person.ts'
import type { ConversationSeed } from './conversations.ts'

export type ActorKind = 'sdk' | 'sdk-sse' | 'socket-io' | 'polling' | 'sse'

export interface ActorPlan {
  readonly name: string
  /** Index of the client's user in `people`. */
  readonly person: number
  readonly kind: ActorKind
  /** Index of the fault proxy through which the client connects. */
  readonly front: number
  /** Ids of the users whose presence the client watches. */
  readonly watched: readonly string[]
}

export interface DriverJob {
  readonly name: string
  /** Folder for the process's history file. */
  readonly folder: string
  readonly seed: string
  /** URLs of the fault proxies in front of the balancer. */
  readonly fronts: readonly string[]
  readonly people: readonly Person[]
  readonly conversations: readonly ConversationSeed[]
  readonly actors: readonly ActorPlan[]
  /** Ids of the conversations whose members this process adds and removes. */
  readonly churned: readonly string[]
  /** Number of characters added to each message of clients that do not use the client library. */
  readonly padChars: number
  /**
   * Indices of the spare sessions that this process may use, in the list of sessions of each user.
   */
  readonly spareSessions: { readonly from: number; readonly to: number }
}

/**
 * Newest sequence number (seq) of a conversation, and the members who must receive everything up to
 * it.
 */
export interface Top {
  readonly conversation: string
  readonly seq: number
  readonly members: readonly string[]
}

export type ToDriver =
  | { readonly kind: 'job'; readonly job: DriverJob }
  /**
   * Sets the number of operations per second, including edits and other changes. With 0, only
   * waiting messages are sent.
   */
  | { readonly kind: 'rate'; readonly perSecond: number }
  /**
   * Starts or stops sending as fast as possible to the conversations with many messages (role
   * `bulk`).
   */
  | { readonly kind: 'burst'; readonly isOn: boolean }
  /**
   * Starts or stops the coming and going of clients: members join and leave, sessions are revoked,
   * clients restart.
   */
  | { readonly kind: 'churn'; readonly isOn: boolean }
  /** Pauses or resumes reading for this share of the clients that do not use the client library. */
  | { readonly kind: 'pause'; readonly share: number; readonly isPaused: boolean }
  | { readonly kind: 'await'; readonly id: number; readonly tops: readonly Top[]; readonly timeoutMs: number }
  | { readonly kind: 'settle'; readonly timeoutMs: number }
  | { readonly kind: 'final'; readonly tops: readonly Top[] }
  | { readonly kind: 'end' }

export interface DriverStatus {
  readonly acknowledged: number
  readonly deliveries: number
  readonly infos: number
  readonly fails: number
  readonly waiting: number
  readonly attached: number
}

export type FromDriver =
  | { readonly kind: 'ready' }
  | { readonly kind: 'status'; readonly status: DriverStatus }
  | { readonly kind: 'awaited'; readonly id: number; readonly behind: readonly string[] }
  /**
   * Response to the request `settle`, with the number of messages that are still waiting to be
   * sent.
   */
  | { readonly kind: 'settled'; readonly waiting: number }
  | { readonly kind: 'final-done' }
  | { readonly kind: 'problem'; readonly text: string }
  | { readonly kind: 'ended' }
  | { readonly kind: 'failed'; readonly message: string }
