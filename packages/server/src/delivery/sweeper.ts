/**
 * The sweeper finds changes whose hints over Redis were lost (rules TAIL1, CP1). About once a
 * second it asks the database for everything written since its last position, delivers what is
 * missing, and then sends checkpoints.
 *
 * A connection gets a checkpoint when all of this holds: an event was sent to it since its last
 * checkpoint, it is ready, it has no join in progress, and none of its conversations has an
 * undelivered change. The checkpoint is queued behind everything sent before.
 */
import type { Id } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'
import type { Connection } from './connection.ts'
import type { Connections } from './connections.ts'
import type { Feeds } from './feeds.ts'
import { frameOf } from '../frames/frame.ts'

export const sweeperTimings = {
  /** Time from the start of one sweep to the start of the next. */
  intervalMs: 1_000,
  /** Time from the end of a failed sweep to the next attempt. */
  retryMs: 300,
  /**
   * Maximum time that a sweep waits until the changes that it found have been written to their
   * subscribers.
   */
  catchUpMaxMs: 800,
  /**
   * Minimum time between the starts of two sweeps that send checkpoints. Slightly less than
   * `intervalMs`, because timers are not exact.
   */
  checkpointGapMs: 900,
} as const

/**
 * Point that a sweep has reached: the position for checkpoints, and any further data that the next
 * sweep needs to continue from there.
 */
export interface Place {
  readonly position: number
}

export interface SweptFacts<At extends Place> {
  readonly place: At
  readonly cut: boolean
  /**
   * Whether the position lies after everything that the sweep has seen. False while a long
   * transaction holds the position back.
   */
  readonly covers: boolean
  readonly conversations: ReadonlyMap<Id, number>
  readonly members: readonly {
    readonly user: Id
    readonly conversation: Id
    readonly leftSeq: number | null
    readonly readSeq: number | null
    /** Id of the transaction that wrote this row. */
    readonly xid: number
  }[]
  readonly revokedSessions: readonly Id[]
}

/** Receives the memberships and read markers that a sweep found. */
export interface SweepListener {
  /** Called when a membership changed and its user has a connection at this server. */
  readonly onMember: (user: Id, conversation: Id) => void
  /** Called when a user left a conversation, also when this server has no feed of it. */
  readonly onLeft: (user: Id, conversation: Id, leftSeq: number, xid: number) => void
  /**
   * Called when a removal has been delivered. Connections of the removed user may still be
   * subscribed to the conversation.
   */
  readonly onStale: (user: Id, conversation: Id, leftSeq: number) => void
  /** Called when a read marker moved and this server has not sent it yet. */
  readonly onMarker: (user: Id, conversation: Id) => void
  /**
   * Called for a connection whose read markers could not be read before. The sweep has just shown
   * that the database answers again.
   */
  readonly onOwed: (connection: Connection) => void
}

export interface SweeperOptions<At extends Place> extends SweepListener {
  readonly sweep: (place: At) => Promise<SweptFacts<At>>
  readonly feeds: Feeds
  readonly connections: Connections
  readonly clock: Clock
  readonly encodeCursor: (position: number) => string
  readonly onRevoked: (sessions: readonly Id[]) => void
  /** Called after a complete sweep. Everything written before `beganAtMs` has been applied. */
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
  /**
   * Number of database epochs so far. The result of a sweep that started in an earlier epoch is
   * ignored.
   */
  #history = 0
  #isPaused = false

  constructor(options: SweeperOptions<At>, place: At) {
    this.#options = options
    this.#place = place
    this.#lastSuccessAtMs = options.clock.nowMs()
  }

  /**
   * Time since the start of the last complete sweep. Infinite from a change of the database epoch
   * to the first complete sweep after it.
   */
  get ageMs(): number {
    return this.#options.clock.nowMs() - this.#lastSuccessAtMs
  }

  start(): void {
    this.#schedule(sweeperTimings.intervalMs)
  }

  /**
   * Sweeps at once, because messages over Redis may have been missed or the event loop stalled.
   * Resolves when a sweep that began after this call is done.
   */
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

  /**
   * Pauses because the database epoch changed and the start position in the new epoch is not known
   * yet. Until `reset` is called, no sweep runs and no checkpoint is sent.
   */
  pause(): void {
    this.#history++
    this.#lastSuccessAtMs = Number.NEGATIVE_INFINITY
    this.#isPaused = true
  }

  /** Resumes sweeping in a new database epoch, from the given position. */
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
        // Count from the start of the sweep, so that waiting for deliveries does not delay the next
        // sweep (rule TAIL1).
        nextMs = Math.max(0, startedAtMs + sweeperTimings.intervalMs - clock.nowMs())
      } catch (error) {
        observer.failed(error)
        nextMs = sweeperTimings.retryMs
      }
    } while (this.#again && !this.#stopped)
    this.#running = undefined
    this.#schedule(nextMs)
  }

  /**
   * Runs one sweep. Returns true when the sweep reached a limit, so that the next one must follow
   * at once.
   */
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
    for (const [conversation, seq] of swept.conversations) if (feeds.requireUpTo(conversation, seq)) repaired++
    for (const { user, conversation, leftSeq, readSeq, xid } of swept.members) {
      if (leftSeq !== null) this.#options.onLeft(user, conversation, leftSeq, xid)
      if (leftSeq !== null || connections.ofUser(user).size === 0) continue
      this.#options.onMember(user, conversation)
      if (readSeq !== null && !feeds.noteMarker(user, conversation, readSeq)) this.#options.onMarker(user, conversation)
    }
    observer.swept(clock.nowMs() - startedAtMs, repaired)
    if (!swept.cut) this.#options.onApplied(startedAtMs)
    for (const connection of connections) if (connection.owedMarkers.size > 0) this.#options.onOwed(connection)
    // The sweep reached its limit and has not read everything. Read on before waiting for
    // deliveries: with a wait in between, the sweeper would fall behind under load.
    if (swept.cut) return true
    if (feeds.lagging.size > 0) await Promise.race([feeds.whenCaughtUp(), this.#pause(sweeperTimings.catchUpMaxMs)])
    if (history !== this.#history) return true
    this.#endStaleSubscriptions(swept)
    this.#sendCheckpoints(swept.covers, startedAtMs)
    return false
  }

  /**
   * Reports the members whose removal has been delivered, so that none of their connections stays
   * subscribed. This is the safety net for rule ACL1.
   */
  #endStaleSubscriptions({ members }: SweptFacts<At>): void {
    for (const { user, conversation, leftSeq } of members) {
      if (leftSeq === null || this.#options.feeds.get(conversation)?.hasDelivered(leftSeq) !== true) continue
      this.#options.onStale(user, conversation, leftSeq)
    }
  }

  #sendCheckpoints(covers: boolean, startedAtMs: number): void {
    const { feeds, connections } = this.#options
    const { position } = this.#place
    // Send checkpoints at most about once a second. While a long transaction holds the position
    // back, do not send the same cursor again.
    if (startedAtMs - this.#lastCheckpointsAtMs < sweeperTimings.checkpointGapMs) return
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
      // Events sent after the sweep began, or after its position, need a later checkpoint.
      if (covers && connection.isCoveredBySweep) connection.owesCheckpoint = false
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.setTimer(resolve, delayMs)
    })
  }
}
