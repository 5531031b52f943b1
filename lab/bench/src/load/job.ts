/** Messages between the benchmark and its load generator process, over the pipe between them. */
import type { LatencySummary } from './latency-histogram.ts'
import type { StormJob, StormOutcome } from './storm-job.ts'

/** One client connection that the load generator opens. */
export interface MemberSpec {
  /** Cookie that the client sends with its handshake. */
  readonly cookie?: string
  /** JSON text that the client sends as Socket.IO's `auth`. */
  readonly auth?: string
  /**
   * Path of a plain WebSocket to use in place of Socket.IO. A message then consists only of its
   * text. There are no acknowledgements; a message counts as acknowledged when its sender receives
   * it.
   */
  readonly plainPath?: string
  /**
   * Group of the connection. Only messages from senders of the same group are meant for this
   * connection.
   */
  readonly group: number
  /**
   * If true, this connection must receive every message of its group once. If false, it must
   * receive none.
   */
  readonly hears: boolean
}

/** One connection that sends messages. */
export interface SenderSpec {
  /** Index of the connection that sends. */
  readonly member: number
  /**
   * Beginning of the sent event's payload, before the text: `{"conversation":"…",` and so on,
   * without the closing brace.
   */
  readonly payloadHead: string
  /** Whether each message carries a unique `clientId`. */
  readonly clientIds: boolean
}

export type Load =
  /** Load in which each sender always keeps this many messages unacknowledged. */
  | { readonly kind: 'window'; readonly window: number }
  /**
   * Load in which all senders together send this many messages per second, regardless of the
   * responses.
   */
  | { readonly kind: 'rate'; readonly perSecond: number }
  /** Load without messages: all clients are connected and silent. */
  | { readonly kind: 'idle' }

export interface Job {
  readonly host: string
  /** Ports of the servers. Connections are assigned to the ports in rotation. */
  readonly ports: readonly number[]
  readonly members: readonly MemberSpec[]
  readonly senders: readonly SenderSpec[]
  readonly load: Load
  readonly textChars: number
  readonly warmUpMs: number
  readonly measureMs: number
  /** Maximum time to wait for deliveries after the last message was sent. */
  readonly drainMs: number
  /**
   * Number of this run's first message. Messages left over from an earlier run against the same
   * servers have numbers outside this run's range.
   */
  readonly firstSerial: number
}

export interface Outcome {
  readonly connectMs: number
  readonly sent: number
  readonly acknowledged: number
  readonly refused: number
  readonly firstRefusal: string | undefined
  /**
   * Number of required deliveries: each acknowledged message to each client that must receive it.
   */
  readonly expected: number
  readonly delivered: number
  readonly lost: number
  readonly doubled: number
  /**
   * Number of missing deliveries when deliveries were still arriving at the end of `drainMs`. In
   * that case `lost` is 0, because it is unknown whether any of them are lost.
   */
  readonly late: number
  /** Number of received messages that belong to an earlier run. No other count includes them. */
  readonly strays: number
  /** Number of connections that closed before the end of the run. */
  readonly disconnected: number
  readonly firstProblem: string | undefined
  readonly drainMs: number
  readonly measured: {
    readonly durationMs: number
    readonly acknowledged: number
    readonly delivered: number
    /**
     * Time from sending a message to its acknowledgement, for all messages sent during the
     * measurement, however late the acknowledgement arrives. So a backlog shows here, though
     * `acknowledged` does not show it.
     */
    readonly acknowledgement: LatencySummary
    /** Time from sending a message until one of its receivers has it. */
    readonly delivery: LatencySummary
    /** Time from sending a message until all of its receivers have it. */
    readonly lastDelivery: LatencySummary
    readonly generatorCpuShare: number
  }
}

export type ToGenerator =
  | { readonly kind: 'job'; readonly job: Job }
  | { readonly kind: 'storm'; readonly storm: StormJob }

export type Finished =
  | { readonly kind: 'done'; readonly outcome: Outcome }
  | { readonly kind: 'stormed'; readonly outcome: StormOutcome }

export type FromGenerator =
  | { readonly kind: 'measuring' }
  | { readonly kind: 'measured' }
  | Finished
  | { readonly kind: 'failed'; readonly message: string }
