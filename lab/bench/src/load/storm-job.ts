/** Request and response of a reconnection storm. */
import type { LatencySummary } from './latency-histogram.ts'

export interface StormMember {
  /** Cookie sent with the handshake and with posts. */
  readonly cookie?: string
  /** JSON of Socket.IO's `auth`. A member without it resumes from its cursor. */
  readonly auth?: string
  /** Indices of the member's conversations. */
  readonly conversations: readonly number[]
}

export interface StormConversation {
  readonly id: string
  /**
   * Index of the member who posts in the conversation over HTTP, so that no connection keeps it in
   * the servers' caches.
   */
  readonly poster: number
}

export interface StormJob {
  readonly host: string
  /** Ports of the servers. Members use them in turn. */
  readonly ports: readonly number[]
  readonly members: readonly StormMember[]
  readonly conversations: readonly StormConversation[]
  /** Whether the target stores messages, so that members can miss some. */
  readonly posts: boolean
  readonly textChars: number
  /** Number of messages posted per second all the time, over all conversations in turn. */
  readonly postsPerSecond: number
  /** Number of messages per conversation while all members are offline. */
  readonly missedEach: number
  /** Time from the last `ready` to the cut. */
  readonly settleMs: number
  /** Minimum time from the cut to the first reconnection. */
  readonly awayMs: number
  /** Time over which the first attempts are spread. */
  readonly spreadMs: number
  /** Maximum number of simultaneous attempts whose handshake has no response yet. */
  readonly openingMax: number
  /** Time after which a member that is not back does not count as back. */
  readonly patienceMs: number
  /** Time for deliveries still under way at the end. */
  readonly drainMs: number
}

export interface StormOutcome {
  /** Time to connect all members, batch by batch, before the storm. */
  readonly connectMs: number
  /** Time from the cut to the first reconnection. */
  readonly awayMs: number
  readonly posted: number
  /** Number of posts with a response other than 201. */
  readonly refusedPosts: number
  /** Number of deliveries that had to be caught up, over all members. */
  readonly missed: number
  /** Times from the first reconnection until a member has `ready` and everything it missed. */
  readonly caughtUp: LatencySummary
  /** Number of members that were not back in time. */
  readonly away: number
  /** Number of attempts that led to no `ready`, and the reason of the first one. */
  readonly refusedHandshakes: number
  readonly firstRefusal: string | undefined
  readonly lost: number
  /**
   * Number of deliveries that came twice over one connection, or to a client that is not in the
   * conversation.
   */
  readonly doubled: number
  /**
   * Number of deliveries that a member had before the cut and received again, because its cursor
   * was older.
   */
  readonly repeated: number
  /** Number of connections that closed by themselves. */
  readonly disconnected: number
  readonly firstProblem: string | undefined
  readonly measuredMs: number
  readonly generatorCpuShare: number
}
