/**
 * What is measured: Chorus or a peer, started, with people in it. Every target speaks the same Socket.IO framing, so one
 * generator measures all of them alike.
 */
import type { Attacker } from '@chorus/testkit'
import type { MemberSpec, SenderSpec } from '../load/job.ts'
import type { StormConversation, StormMember } from '../load/storm-job.ts'
import type { WatchedProcess } from '../machine/process-watch.ts'

/** People who are there, and who of them sends. */
export interface Audience {
  readonly members: readonly MemberSpec[]
  readonly senders: readonly SenderSpec[]
}

/** People in many conversations each, for a storm. */
export interface Crowd {
  readonly members: readonly StormMember[]
  readonly conversations: readonly StormConversation[]
  /** Are messages stored, so that who is away misses some? */
  readonly posts: boolean
}

export interface CrowdPlan {
  readonly people: number
  readonly conversationsEach: number
  /** About so many people are in each conversation. */
  readonly size: number
  /** Messages that each conversation holds already. */
  readonly history: number
}

export interface Target {
  readonly name: TargetName
  /** What it does with a message, in a few words, for the table. */
  readonly description: string
  /** One for each of its servers. */
  readonly ports: readonly number[]
  readonly processes: readonly WatchedProcess[]
  /** Pairs of people; the first of each sends to the second. */
  pairs(count: number): Promise<Audience>
  /** One room in which everybody hears everything; `senders` of its people send. */
  room(people: number, senders: number): Promise<Audience>
  /** People who only are there, each in so many conversations where the target knows such. */
  idle(people: number, conversationsEach: number): Promise<Audience>
  /** People in many conversations each, where the target can do that. */
  crowd?(plan: CrowdPlan): Promise<Crowd>
  /** A hostile account among them, where the target can make one. */
  attacker?(): Promise<Attacker>
  /** Figures of its own about the time since the last call, if it has any. */
  ownFigures(): Promise<Readonly<Record<string, number>>>
  stop(): Promise<void>
}

export type PeerName =
  | 'socket-io-memory'
  | 'socket-io-insert'
  | 'socket-io-redis-adapter'
  | 'socket-io-streams-adapter'
  | 'one-channel'

export type TargetName = 'chorus' | 'chorus-embedded' | 'nchan' | PeerName
