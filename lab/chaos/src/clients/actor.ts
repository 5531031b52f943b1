/** One logical client of the workload, whatever it speaks. The driver knows no more of it than this. */
import type { Person, SessionSeed } from '../workload/population.ts'

export interface ActorIdentity {
  /** Names the process in the history. */
  readonly name: string
  readonly person: Person
  readonly session: SessionSeed
}

export interface Actor {
  readonly name: string
  readonly person: Person
  /** The session it uses; gone once it was revoked. */
  readonly session: SessionSeed
  start(): Promise<void>
  /** Ends it for good; what was not answered stays unanswered. */
  stop(): Promise<void>
  /** Its session is about to be revoked: from now on it is not expected to follow, and must not be told anything. */
  doom(): void
  /** Sends a message, and again until that is settled. False when too many wait already. */
  send(conversation: string): boolean
  /** Messages that are not settled yet. */
  readonly waitingCount: number
  /** Is it expected to have everything? Not while it is stopped, paused or signed out. */
  readonly isAttached: boolean
  /** Does it have a connection on which everything was caught up? */
  readonly isReady: boolean
  /** Up to where it has this conversation; undefined when it never heard of it. */
  positionOf(conversation: string): number | undefined
  /** Why it is not where it should be, for whoever looks at a run that hangs. */
  describe(): string
}
