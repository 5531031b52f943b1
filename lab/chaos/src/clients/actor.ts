/**
 * The interface of a logical client of the workload, for every protocol. The driver uses nothing
 * else.
 */
import type { Person, SessionSeed } from './person.ts'

export interface ActorIdentity {
  /** Name of the client's process in the history. */
  readonly name: string
  readonly person: Person
  readonly session: SessionSeed
}

export interface Actor {
  readonly name: string
  readonly person: Person
  /** Session that the client uses. It ends when it is revoked. */
  readonly session: SessionSeed
  start(): Promise<void>
  /** Stops the client permanently. Messages without a response stay without one. */
  stop(): Promise<void>
  /**
   * Marks the client because its session is about to be revoked. From then on it need not catch up,
   * and the server must send it nothing.
   */
  doom(): void
  /**
   * Sends a message and retries until its outcome is known. Returns false when too many messages
   * are waiting.
   */
  send(conversation: string): boolean
  /** Number of messages whose outcome is not known yet. */
  readonly waitingCount: number
  /**
   * Whether the client must receive everything. False while it is stopped, paused or signed out.
   */
  readonly isAttached: boolean
  /** Whether the client has a connection that has caught up. */
  readonly isReady: boolean
  /**
   * Returns the last seq that the client has of this conversation; undefined if it does not know
   * the conversation.
   */
  positionOf(conversation: string): number | undefined
  /** Returns a description of the client's state, to explain why a run hangs. */
  describe(): string
}
