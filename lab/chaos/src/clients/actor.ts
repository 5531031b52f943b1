/**
 * The interface of a simulated client of the chaos test, for every protocol. The workload uses
 * clients only through this interface.
 */
import type { Person, SessionSeed } from './person.ts'

export interface ActorIdentity {
  /** Name of the client in the history. */
  readonly name: string
  readonly person: Person
  readonly session: SessionSeed
}

export interface Actor {
  readonly name: string
  readonly person: Person
  /** Session that the client uses. The client ends when its session is revoked. */
  readonly session: SessionSeed
  start(): Promise<void>
  /**
   * Stops the client permanently. The outcome of messages that have no response yet remains
   * unknown.
   */
  stop(): Promise<void>
  /**
   * Notes that the client's session is about to be revoked. From then on the client need not catch
   * up, and the server must stop sending to it.
   */
  doom(): void
  /**
   * Queues a message, which the client sends and retries until its outcome is known. Returns false
   * when too many messages are waiting.
   */
  send(conversation: string): boolean
  /** Number of messages whose outcome is not known yet. */
  readonly waitingCount: number
  /**
   * Whether the client must receive every change. False while it is stopped, paused or signed out.
   */
  readonly isAttached: boolean
  /** Whether the client has a connection that has caught up. */
  readonly isReady: boolean
  /**
   * Returns the sequence number (seq) of the last change that the client has of this conversation;
   * undefined if it does not know the conversation.
   */
  positionOf(conversation: string): number | undefined
  /** Returns a description of the client's state, to explain why a run does not proceed. */
  describe(): string
}
