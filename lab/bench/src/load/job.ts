/** Requests to the generator and its responses, over the pipe between it and the harness. */
import type { LatencySummary } from './latency-histogram.ts'
import type { StormJob, StormOutcome } from './storm-job.ts'

/** One connection of the load. */
export interface MemberSpec {
  /** Cookie sent with the handshake. */
  readonly cookie?: string
  /** JSON of Socket.IO's `auth`. */
  readonly auth?: string
  /**
   * Path of a plain WebSocket that replaces Socket.IO. A message is then only its text, and there
   * are no acknowledgements: its delivery to the sender counts as one.
   */
  readonly plainPath?: string
  /** Group of the connection. Messages from this group's senders are meant for it. */
  readonly group: number
  /** Whether every message of the group must reach this connection once. If false, none may. */
  readonly hears: boolean
}

/** One connection that sends. */
export interface SenderSpec {
  /** Index of the sender's connection. */
  readonly member: number
  /**
   * Event name, and the payload up to the text: `{"conversation":"…",` and so on, without the last
   * brace.
   */
  readonly payloadHead: string
  /** Whether each message carries a unique `clientId`. */
  readonly clientIds: boolean
}

export type Load =
  /** Each sender always keeps this many messages unacknowledged. */
  | { readonly kind: 'window'; readonly window: number }
  /** All senders together send this many messages per second, regardless of responses. */
  | { readonly kind: 'rate'; readonly perSecond: number }
  /** All clients are connected and silent. */
  | { readonly kind: 'idle' }

export interface Job {
  readonly host: string
  /** Ports of the servers. Connections use them in turn. */
  readonly ports: readonly number[]
  readonly members: readonly MemberSpec[]
  readonly senders: readonly SenderSpec[]
  readonly load: Load
  readonly textChars: number
  readonly warmUpMs: number
  readonly measureMs: number
  /** Maximum time from the last send to the last delivery. */
  readonly drainMs: number
  /**
   * Number of the first message. Messages left over from an earlier run of the same target have
   * numbers outside of this run's range.
   */
  readonly firstSerial: number
}

export interface Outcome {
  readonly connectMs: number
  readonly sent: number
  readonly acknowledged: number
  readonly refused: number
  readonly firstRefusal: string | undefined
  /** Number of deliveries that were required, and the number that arrived; then the deviations. */
  readonly expected: number
  readonly delivered: number
  readonly lost: number
  readonly doubled: number
  /**
   * Number of missing deliveries, if deliveries were still arriving when `drainMs` had passed.
   * `lost` is 0 then, because it is unknown whether any are lost.
   */
  readonly late: number
  /** Number of deliveries from an earlier run. They are not counted elsewhere. */
  readonly strays: number
  /** Number of connections that closed before the end. */
  readonly disconnected: number
  readonly firstProblem: string | undefined
  readonly drainMs: number
  readonly measured: {
    readonly durationMs: number
    readonly acknowledged: number
    readonly delivered: number
    /**
     * Latencies of messages sent while measuring, whenever they arrive. They reveal a backlog that
     * the counts above do not show.
     */
    readonly acknowledgement: LatencySummary
    /** Latency of one message to one receiver. */
    readonly delivery: LatencySummary
    /** Latency of one message to the last of its receivers. */
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
