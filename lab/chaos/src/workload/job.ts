/** What the run and its driver processes say to each other. */
import type { ConversationSeed, Person } from './population.ts'

export type ActorKind = 'sdk' | 'sdk-sse' | 'socket-io' | 'polling' | 'sse'

export interface ActorPlan {
  readonly name: string
  /** Index of the person. */
  readonly person: number
  readonly kind: ActorKind
  /** Index of the front door it comes through. */
  readonly front: number
  /** Ids of people whose presence it watches. */
  readonly watched: readonly string[]
}

export interface DriverJob {
  readonly name: string
  /** Where its history goes. */
  readonly folder: string
  readonly seed: string
  /** Addresses of the front doors. */
  readonly fronts: readonly string[]
  readonly people: readonly Person[]
  readonly conversations: readonly ConversationSeed[]
  readonly actors: readonly ActorPlan[]
  /** Ids of the conversations whose members this driver adds and removes. */
  readonly churned: readonly string[]
  /** Characters that each message of a client without the SDK has more. */
  readonly padChars: number
  /** Index of its first spare session in each person's list, and how far it may go. */
  readonly spareSessions: { readonly from: number; readonly to: number }
}

/** Where a conversation is, and who must know. */
export interface Top {
  readonly conversation: string
  readonly seq: number
  readonly members: readonly string[]
}

export type ToDriver =
  | { readonly kind: 'job'; readonly job: DriverJob }
  /** Messages a second, edits and the like included. 0: nothing but what waits. */
  | { readonly kind: 'rate'; readonly perSecond: number }
  /** Fill every window in the bulk conversations. */
  | { readonly kind: 'burst'; readonly isOn: boolean }
  /** Members come and go, sessions are revoked, clients restart. */
  | { readonly kind: 'churn'; readonly isOn: boolean }
  /** This share of the clients without the SDK stops, or goes on, reading. */
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
  /** Nothing waits any more, or this many still do. */
  | { readonly kind: 'settled'; readonly waiting: number }
  | { readonly kind: 'final-done' }
  | { readonly kind: 'problem'; readonly text: string }
  | { readonly kind: 'ended' }
  | { readonly kind: 'failed'; readonly message: string }
