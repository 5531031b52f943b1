/**
 * The interface of a system to measure: Chorus or a compared system, running and with users. All
 * systems but Nchan use the same Socket.IO packets, so one load generator measures all of them in
 * the same way.
 */
import type { Attacker } from '@chorus/testkit'
import type { MemberSpec, SenderSpec } from '../load/job.ts'
import type { StormConversation, StormMember } from '../load/storm-job.ts'
import type { WatchedProcess } from '../machine/process-watch.ts'

/** The clients that connect, and which of them send messages. */
export interface Audience {
  readonly members: readonly MemberSpec[]
  readonly senders: readonly SenderSpec[]
}

/** Users who are each in many conversations, for a reconnection storm. */
export interface Population {
  readonly members: readonly StormMember[]
  readonly conversations: readonly StormConversation[]
  /** Whether the server stores messages, so that offline users miss some. */
  readonly posts: boolean
}

export interface CrowdPlan {
  readonly people: number
  readonly conversationsEach: number
  /** Approximate number of members in each conversation. */
  readonly size: number
  /** Number of messages that each conversation contains before the measurement. */
  readonly history: number
}

export interface Target {
  readonly name: TargetName
  /** Short description of what the system does with a message, for the printed table. */
  readonly description: string
  /** Ports of the system's servers. */
  readonly ports: readonly number[]
  readonly processes: readonly WatchedProcess[]
  /** Creates pairs of users. The first user of each pair sends to the second. */
  pairs(count: number): Promise<Audience>
  /**
   * Creates one room in which every member receives every message. `senders` of its members send
   * messages.
   */
  room(people: number, senders: number): Promise<Audience>
  /**
   * Creates users who send nothing, each in `conversationsEach` conversations if the system
   * supports them.
   */
  idle(people: number, conversationsEach: number): Promise<Audience>
  /**
   * Creates users who are each in many conversations. Missing if the system does not support this.
   */
  crowd?(plan: CrowdPlan): Promise<Population>
  /** Creates an account for attacks. Missing if the system does not support this. */
  attacker?(): Promise<Attacker>
  /** Returns the system's own metrics since the last call, if it has any. */
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
