/**
 * The safety net under every hint (rules TAIL1, CP1): about once a second it asks the database what was written since it
 * last asked, repairs what was not delivered, and only then tells connections how far they have come.
 *
 * A checkpoint goes to a connection that was sent something since its last one, is ready, has no join in progress, and
 * is subscribed to no conversation with anything undelivered; it leaves through the same queue, behind all of that.
 */
import type { Id } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import type { Connection } from './connection.ts'
import type { Connections } from './connections.ts'
import type { Feeds } from './feeds.ts'
import { frameOf } from './frame.ts'

export const sweeperBounds = {
  /** From the beginning of a sweep to that of the next. */
  intervalMs: 1_000,
  /** After a failure, from its end. */
  retryMs: 300,
  /** How long a sweep waits until what it found has been written. */
  catchUpMaxMs: 800,
  /** Between the beginnings of two sweeps that send checkpoints: about an interval, for no timer is exact. */
  checkpointGapMs: 900,
} as const

/** How far a sweep has come: what checkpoints may say, and whatever else the next sweep needs to know. */
export interface Place {
  readonly position: number
}

export interface SweptFacts<At extends Place> {
  readonly place: At
  readonly cut: boolean
  /** Is everything that was ever seen below the position? A long transaction elsewhere holds it down. */
  readonly covers: boolean
  readonly conversations: ReadonlyMap<Id, number>
  readonly members: readonly {
    readonly user: Id
    readonly conversation: Id
    readonly leftSeq: number | null
    readonly readSeq: number | null
    /** The transaction that wrote it. */
    readonly xid: number
  }[]
  readonly revokedSessions: readonly Id[]
}

export interface SweeperOptions<At extends Place> {
  readonly sweep: (place: At) => Promise<SweptFacts<At>>
  readonly feeds: Feeds
  readonly connections: Connections
  readonly clock: Clock
  readonly encodeCursor: (position: number) => string
  /** A membership of somebody connected here changed. */
  readonly onMember: (user: Id, conversation: Id) => void
  /** Somebody left a conversation, served here or not. */
  readonly onLeft: (user: Id, conversation: Id, leftSeq: number, xid: number) => void
  /** Connections that still follow a conversation their user is no member of. */
  readonly onStale: (user: Id, conversation: Id, leftSeq: number) => void
  /** A read marker moved, and nobody here was told. */
  readonly onMarker: (user: Id, conversation: Id) => void
  /** Markers that could not be read are still owed to this connection; by now the database answers. */
  readonly onOwed: (connection: Connection) => void
  readonly onRevoked: (sessions: readonly Id[]) => void
  /** A sweep that began at this moment has told everything that was written before. */
  readonly onApplied: (beganAtMs: number) => void
  readonly observer: { swept(durationMs: number, repaired: number): void; failed(error: unknown): void }
}

export class Sweeper<At extends Place> {
  readonly #options: SweeperOptions<At>
  #place: At
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #again = false
  #stopped = false
  #lastSuccessAtMs: number
  #lastCheckpointsAtMs = Number.NEGATIVE_INFINITY
  #lastCheckpointPosition = 0
  /** Counts the histories: a sweep of an earlier one says nothing about this. */
  #history = 0
  #isPaused = false

  constructor(options: SweeperOptions<At>, place: At) {
    this.#options = options
    this.#place = place
    this.#lastSuccessAtMs = options.clock.nowMs()
  }

  /** How long ago the last sweep began that saw everything up to then; endless while there was none in this history. */
  get ageMs(): number {
    return this.#options.clock.nowMs() - this.#lastSuccessAtMs
  }

  start(): void {
    this.#schedule(sweeperBounds.intervalMs)
  }

  /** Sweeps at once: after a gap in the bus, or a stall. Resolves when a sweep that began after the call is done. */
  async sweepNow(): Promise<void> {
    this.#again = true
    this.#timer?.cancel()
    this.#running ??= this.#run()
    await this.#running
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#running
  }

  /** The history is another one, and where to begin in it is not known yet: nothing is swept, and no checkpoint leaves. */
  pause(): void {
    this.#history++
    this.#lastSuccessAtMs = Number.NEGATIVE_INFINITY
    this.#isPaused = true
  }

  /** Begins in another history. */
  reset(place: At): void {
    this.#place = place
    this.#history++
    this.#isPaused = false
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return
    this.#timer?.cancel()
    this.#timer = this.#options.clock.setTimer(() => {
      this.#running ??= this.#run()
    }, delayMs)
  }

  async #run(): Promise<void> {
    const { clock, observer } = this.#options
    let nextMs: number
    do {
      this.#again = false
      const startedAtMs = clock.nowMs()
      try {
        if (await this.#sweepOnce(startedAtMs)) this.#again = true
        // From its beginning: one that waited for what it found makes nothing else later (TAIL1).
        nextMs = Math.max(0, startedAtMs + sweeperBounds.intervalMs - clock.nowMs())
      } catch (error) {
        observer.failed(error)
        nextMs = sweeperBounds.retryMs
      }
    } while (this.#again && !this.#stopped)
    this.#running = undefined
    this.#schedule(nextMs)
  }

  /** True when a bound cut the sweep and the next must follow at once. */
  async #sweepOnce(startedAtMs: number): Promise<boolean> {
    if (this.#isPaused) return false
    const { feeds, connections, clock, observer } = this.#options
    const history = this.#history
    for (const connection of connections) connection.isCoveredBySweep = true
    const swept = await this.#options.sweep(this.#place)
    if (history !== this.#history) return true
    this.#place = swept.place
    if (!swept.cut) this.#lastSuccessAtMs = startedAtMs

    this.#options.onRevoked(swept.revokedSessions)
    let repaired = 0
    for (const [conversation, seq] of swept.conversations) if (feeds.demand(conversation, seq)) repaired++
    for (const { user, conversation, leftSeq, readSeq, xid } of swept.members) {
      if (leftSeq !== null) this.#options.onLeft(user, conversation, leftSeq, xid)
      if (leftSeq !== null || connections.ofUser(user).size === 0) continue
      this.#options.onMember(user, conversation)
      if (readSeq !== null && !feeds.noteMarker(user, conversation, readSeq)) this.#options.onMarker(user, conversation)
    }
    observer.swept(clock.nowMs() - startedAtMs, repaired)
    if (!swept.cut) this.#options.onApplied(startedAtMs)
    for (const connection of connections) if (connection.owedMarkers.size > 0) this.#options.onOwed(connection)
    // Under load the rest is swept first: waiting here would let the sweep fall behind.
    if (swept.cut) return true
    if (feeds.lagging.size > 0) await Promise.race([feeds.whenCaughtUp(), this.#pause(sweeperBounds.catchUpMaxMs)])
    if (history !== this.#history) return true
    this.#endStaleSubscriptions(swept)
    this.#sendCheckpoints(swept.covers, startedAtMs)
    return false
  }

  /** ACL1: the safety net. A removal that has passed by leaves nobody of that user subscribed. */
  #endStaleSubscriptions({ members }: SweptFacts<At>): void {
    for (const { user, conversation, leftSeq } of members) {
      if (leftSeq === null || this.#options.feeds.get(conversation)?.hasWritten(leftSeq) !== true) continue
      this.#options.onStale(user, conversation, leftSeq)
    }
  }

  #sendCheckpoints(covers: boolean, startedAtMs: number): void {
    const { feeds, connections } = this.#options
    const { position } = this.#place
    // About one a second; and one that says nothing new is not sent.
    if (startedAtMs - this.#lastCheckpointsAtMs < sweeperBounds.checkpointGapMs) return
    if (!covers && position === this.#lastCheckpointPosition) return
    const lagging = [...feeds.lagging]
    const frame = frameOf('checkpoint', { cursor: this.#options.encodeCursor(position) })
    for (const connection of connections) {
      if (!connection.owesCheckpoint || connection.state.kind !== 'ready') continue
      if (connection.joinsInProgress > 0 || connection.owedMarkers.size > 0) continue
      if (lagging.some((feed) => feed.has(connection))) continue
      connection.send(frame)
      this.#lastCheckpointsAtMs = startedAtMs
      this.#lastCheckpointPosition = position
      // What was sent since the sweep began, or stands above its position, is covered by a later one.
      if (covers && connection.isCoveredBySweep) connection.owesCheckpoint = false
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.setTimer(resolve, delayMs)
    })
  }
}
