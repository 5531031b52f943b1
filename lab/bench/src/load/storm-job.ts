/**
 * The job and the outcome of a reconnection storm, in which all clients are cut off and reconnect
 * at the same time.
 */
import type { LatencySummary } from './latency-histogram.ts'

export interface StormMember {
  /** Cookie that the client sends with its handshake and with its HTTP posts. */
  readonly cookie?: string
  /**
   * JSON text that the client sends as Socket.IO's `auth`. A client without it sends its last
   * cursor, to resume.
   */
  readonly auth?: string
  /** Indices of the conversations that the client's user is a member of. */
  readonly conversations: readonly number[]
}

export interface StormConversation {
  readonly id: string
  /**
   * Index of the member who posts in this conversation. The member posts over HTTP, so that no open
   * connection keeps the conversation in a server's caches.
   */
  readonly poster: number
}

export interface StormJob {
  readonly host: string
  /** Ports of the servers. Clients are assigned to the ports in rotation. */
  readonly ports: readonly number[]
  readonly members: readonly StormMember[]
  readonly conversations: readonly StormConversation[]
  /** Whether the server stores messages, so that offline clients can miss some. */
  readonly posts: boolean
  readonly textChars: number
  /**
   * Number of messages posted per second during the whole run, to one conversation after another.
   */
  readonly postsPerSecond: number
  /** Number of messages posted to each conversation while all clients are offline. */
  readonly missedEach: number
  /** Time between the moment when all clients are connected and the cut of all connections. */
  readonly settleMs: number
  /** Minimum time between the cut of all connections and the first reconnection. */
  readonly awayMs: number
  /** Period over which the clients' first reconnection attempts are spread. */
  readonly spreadMs: number
  /** Maximum number of handshakes that wait for a response at the same time. */
  readonly openingMax: number
  /** Maximum time for a client to reconnect and catch up. A slower client counts as not back. */
  readonly patienceMs: number
  /** Time to wait at the end for deliveries that are still on their way. */
  readonly drainMs: number
}

export interface StormOutcome {
  /** Time that it took to connect all clients before the storm. */
  readonly connectMs: number
  /** Actual time between the cut of all connections and the first reconnection. */
  readonly awayMs: number
  readonly posted: number
  /** Number of HTTP posts with a response other than status 201. */
  readonly refusedPosts: number
  /**
   * Number of deliveries that the clients missed while offline and had to catch up, for all clients
   * together.
   */
  readonly missed: number
  /**
   * Time between the first reconnection and the moment when a client has received `ready` and
   * everything it missed.
   */
  readonly caughtUp: LatencySummary
  /** Number of clients that did not reconnect and catch up in time. */
  readonly away: number
  /** Number of connection attempts that the server did not answer with `ready`. */
  readonly refusedHandshakes: number
  readonly firstRefusal: string | undefined
  readonly lost: number
  /**
   * Number of wrong deliveries: a client received a message twice over one connection, or received
   * one of a conversation in which it is not a member.
   */
  readonly doubled: number
  /**
   * Number of deliveries that a client had before the cut and received again after it. This is
   * allowed, because the client's cursor can be older than its last message.
   */
  readonly repeated: number
  /** Number of connections that closed although the load generator did not close them. */
  readonly disconnected: number
  readonly firstProblem: string | undefined
  readonly measuredMs: number
  readonly generatorCpuShare: number
}
