/**
 * A target of a measurement: Chorus or a peer, started, with users. Every target speaks the same
 * Socket.IO framing, so one generator measures all of them in the same way.
 */
import type { Attacker } from '@chorus/testkit'
import type { MemberSpec, SenderSpec } from '../load/job.ts'
import type { StormConversation, StormMember } from '../load/storm-job.ts'
import type { WatchedProcess } from '../machine/process-watch.ts'

/** Connected clients, and the ones among them that send. */
export interface Audience {
  readonly members: readonly MemberSpec[]
  readonly senders: readonly SenderSpec[]
}

/** Users in many conversations each, for a storm. */
export interface Population {
  readonly members: readonly StormMember[]
  readonly conversations: readonly StormConversation[]
  /** Whether messages are stored, so that offline users miss some. */
  readonly posts: boolean
}

export interface CrowdPlan {
  readonly people: number
  readonly conversationsEach: number
  /** Approximate number of members in each conversation. */
  readonly size: number
  /** Number of messages that each conversation already holds. */
  readonly history: number
}

export interface Target {
  readonly name: TargetName
  /** Short description of what the target does with a message, for the table. */
  readonly description: string
  /** Ports of the target's servers. */
  readonly ports: readonly number[]
  readonly processes: readonly WatchedProcess[]
  /** Makes pairs of users. The first of each pair sends to the second. */
  pairs(count: number): Promise<Audience>
  /** Makes one room in which every member receives every message. `senders` of its members send. */
  room(people: number, senders: number): Promise<Audience>
  /** Makes silent users, each in this many conversations if the target supports them. */
  idle(people: number, conversationsEach: number): Promise<Audience>
  /** Makes users in many conversations each, if the target supports it. */
  crowd?(plan: CrowdPlan): Promise<Population>
  /** Makes a hostile account, if the target supports it. */
  attacker?(): Promise<Attacker>
  /** Returns the target's own figures since the last call, if it has any. */
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
