/** Messages between the run and its driver processes. */
import type { Person } from '../clients/person.ts'
import type { ConversationSeed } from './conversations.ts'

export type ActorKind = 'sdk' | 'sdk-sse' | 'socket-io' | 'polling' | 'sse'

export interface ActorPlan {
  readonly name: string
  /** Index of the client's user in `people`. */
  readonly person: number
  readonly kind: ActorKind
  /** Index of the proxy through which the client connects. */
  readonly front: number
  /** Ids of the users whose presence the client watches. */
  readonly watched: readonly string[]
}

export interface DriverJob {
  readonly name: string
  /** Folder for the driver's history. */
  readonly folder: string
  readonly seed: string
  /** URLs of the proxies in front of the balancer. */
  readonly fronts: readonly string[]
  readonly people: readonly Person[]
  readonly conversations: readonly ConversationSeed[]
  readonly actors: readonly ActorPlan[]
  /** Ids of the conversations whose members this driver adds and removes. */
  readonly churned: readonly string[]
  /** Number of characters added to each message of clients without the SDK. */
  readonly padChars: number
  /** Range of spare sessions in each person's list that this driver may use. */
  readonly spareSessions: { readonly from: number; readonly to: number }
}

/** Current seq of a conversation, and the members who must have reached it. */
export interface Top {
  readonly conversation: string
  readonly seq: number
  readonly members: readonly string[]
}

export type ToDriver =
  | { readonly kind: 'job'; readonly job: DriverJob }
  /**
   * Sets the number of operations per second, including edits and other changes. 0 sends only
   * waiting messages.
   */
  | { readonly kind: 'rate'; readonly perSecond: number }
  /** Starts or stops sending as fast as possible in the bulk conversations. */
  | { readonly kind: 'burst'; readonly isOn: boolean }
  /** Starts or stops churn: members join and leave, sessions are revoked, clients restart. */
  | { readonly kind: 'churn'; readonly isOn: boolean }
  /** Pauses or resumes reading for this share of the clients without the SDK. */
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
  /** Response to `settle`, with the number of messages that still wait. */
  | { readonly kind: 'settled'; readonly waiting: number }
  | { readonly kind: 'final-done' }
  | { readonly kind: 'problem'; readonly text: string }
  | { readonly kind: 'ended' }
  | { readonly kind: 'failed'; readonly message: string }
