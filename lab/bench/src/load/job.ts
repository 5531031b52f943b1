/** What the generator is asked to do and what it answers, over the pipe between it and the harness. */
import type { LatencySummary } from './latency-histogram.ts'

/** One connection. */
export interface MemberSpec {
  /** Sent with the handshake. */
  readonly cookie?: string
  /** JSON of Socket.IO's `auth`. */
  readonly auth?: string
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
  /** Longest time without a further delivery after the last send. */
  readonly drainMs: number
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
  /** Connections that ended before the end. */
  readonly disconnected: number
  readonly firstProblem: string | undefined
  readonly drainMs: number
  readonly measured: {
    readonly durationMs: number
    readonly acknowledged: number
    readonly delivered: number
    readonly acknowledgement: LatencySummary
    /** One message reaching one receiver. */
    readonly delivery: LatencySummary
    /** One message reaching the last of its receivers. */
    readonly lastDelivery: LatencySummary
    readonly generatorCpuShare: number
  }
}

export type ToGenerator = { readonly kind: 'job'; readonly job: Job }

export type FromGenerator =
  | { readonly kind: 'measuring' }
  | { readonly kind: 'measured' }
  | { readonly kind: 'done'; readonly outcome: Outcome }
  | { readonly kind: 'failed'; readonly message: string }
