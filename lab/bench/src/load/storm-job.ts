/** A reconnection storm, as the generator is asked for it and answers. */
import type { LatencySummary } from './latency-histogram.ts'

export interface StormMember {
  /** Sent with the handshake, and with what it posts. */
  readonly cookie?: string
  /** JSON of Socket.IO's `auth`; a member without any resumes from its cursor. */
  readonly auth?: string
  /** Indices of the conversations it is in. */
  readonly conversations: readonly number[]
}

export interface StormConversation {
  readonly id: string
  /** Index of the member who posts in it over HTTP, so that nobody's connection keeps the conversation warm. */
  readonly poster: number
}

export interface StormJob {
  readonly host: string
  /** Members are spread over these, one after the other. */
  readonly ports: readonly number[]
  readonly members: readonly StormMember[]
  readonly conversations: readonly StormConversation[]
  /** Does the target store messages, so that there is something to miss? */
  readonly posts: boolean
  readonly textChars: number
  /** Messages posted all the time, in one conversation after the other. */
  readonly postsPerSecond: number
  /** Messages in each conversation while everybody is away. */
  readonly missedEach: number
  /** From the last `ready` to the cut. */
  readonly settleMs: number
  /** Shortest time from the cut to the first that comes back. */
  readonly awayMs: number
  /** The first attempts are spread over so long. */
  readonly spreadMs: number
  /** Attempts at a time that have no answer to their handshake yet. */
  readonly openingMax: number
  /** Who is not back by then is not counted as back. */
  readonly patienceMs: number
  /** For what is still on its way at the end. */
  readonly drainMs: number
}

export interface StormOutcome {
  /** All of them, one batch after the other, before the storm. */
  readonly connectMs: number
  /** From the cut to the first that comes back. */
  readonly awayMs: number
  readonly posted: number
  /** Posts that got another answer than 201. */
  readonly refusedPosts: number
  /** Deliveries that had to be made up for, over all members. */
  readonly missed: number
  /** From the moment when the first comes back, per member: `ready` and everything missed. */
  readonly caughtUp: LatencySummary
  /** Members that were not back in time. */
  readonly away: number
  /** Attempts that led to no `ready`, and what the first of them met. */
  readonly refusedHandshakes: number
  readonly firstRefusal: string | undefined
  readonly lost: number
  /** Deliveries that came twice over one connection, or to somebody who is not in the conversation. */
  readonly doubled: number
  /** What a member had before the cut and got again: its cursor was older. */
  readonly repeated: number
  /** Connections that ended by themselves. */
  readonly disconnected: number
  readonly firstProblem: string | undefined
  readonly measuredMs: number
  readonly generatorCpuShare: number
}
