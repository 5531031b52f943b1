/** What the generator is asked to do and what it answers, over the pipe between it and the harness. */
import type { LatencySummary } from './latency-histogram.ts'
import type { StormJob, StormOutcome } from './storm-job.ts'

/** One connection. */
export interface MemberSpec {
  /** Sent with the handshake. */
  readonly cookie?: string
  /** JSON of Socket.IO's `auth`. */
  readonly auth?: string
  /**
   * A plain WebSocket at this path instead of Socket.IO: a message is its text and nothing else, and nobody acknowledges; that
   * its sender hears it counts as that.
   */
  readonly plainPath?: string
  /** Messages of this group's senders are for this connection, if it is one of its hearers. */
  readonly group: number
  /** Every message of the group must reach it once; otherwise none may. */
  readonly hears: boolean
}

/** One connection that sends. */
export interface SenderSpec {
  /** Index of its connection. */
  readonly member: number
  /** Name of the event, and the payload up to the text: `{"conversation":"…",` and so on, without the last brace. */
  readonly payloadHead: string
  /** Does each message carry a `clientId` of its own? */
  readonly clientIds: boolean
}

export type Load =
  /** Each sender has so many messages unacknowledged, always. */
  | { readonly kind: 'window'; readonly window: number }
  /** All senders together offer so many messages a second, whatever happens to them. */
  | { readonly kind: 'rate'; readonly perSecond: number }
  /** Everybody is there and says nothing. */
  | { readonly kind: 'idle' }

export interface Job {
  readonly host: string
  /** Connections are spread over these, one after the other. */
  readonly ports: readonly number[]
  readonly members: readonly MemberSpec[]
  readonly senders: readonly SenderSpec[]
  readonly load: Load
  readonly textChars: number
  readonly warmUpMs: number
  readonly measureMs: number
  /** Longest time from the last send to the last delivery. */
  readonly drainMs: number
  /** Number of the first message: what an earlier run of the same target left behind has lower or higher ones. */
  readonly firstSerial: number
}

export interface Outcome {
  readonly connectMs: number
  readonly sent: number
  readonly acknowledged: number
  readonly refused: number
  readonly firstRefusal: string | undefined
  /** Deliveries there had to be, there were, and what is wrong with them. */
  readonly expected: number
  readonly delivered: number
  readonly lost: number
  readonly doubled: number
  /** Deliveries that were still coming when `drainMs` were over; `lost` is 0 then, because nobody knows. */
  readonly late: number
  /** Deliveries of an earlier run, which count nowhere. */
  readonly strays: number
  /** Connections that ended before the end. */
  readonly disconnected: number
  readonly firstProblem: string | undefined
  readonly drainMs: number
  readonly measured: {
    readonly durationMs: number
    readonly acknowledged: number
    readonly delivered: number
    /** Of what was sent while it measured, whenever it arrived: a backlog shows here and not in the counts above. */
    readonly acknowledgement: LatencySummary
    /** One message reaching one receiver. */
    readonly delivery: LatencySummary
    /** One message reaching the last of its receivers. */
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
