/**
 * Outgoing queue of a connection, with two limits: unread bytes, and time without progress (rule
 * SLOW1). Events and acknowledgements share one queue, so a client cannot fill the memory with the
 * responses to its own commands.
 *
 * An item is passed to the transport at once while the transport has little buffered. Otherwise it
 * waits in this queue. A frame that is shared by many queues counts once for the limit of the
 * server. A connection over a limit is closed as slow, and its client resumes with its cursor.
 */
import { Answer, type Outgoing } from '../frames/frame.ts'
import type { EventLoopStallDetector } from '../health/event-loop-stall-detector.ts'

export const outboundLimits = {
  /** Maximum number of unread bytes of one connection. */
  connectionMaxBytes: 1_048_576,
  /** Maximum number of queued bytes of all connections of the server. Shared frames count once. */
  serverMaxBytes: 50_331_648,
  /** Number of buffered bytes at which the queue stops passing items to a transport. */
  transportMaxBytes: 65_536,
  /** Maximum time without any progress while a client has something unread. */
  stalledMaxMs: 10_000,
} as const

export type TransportKind = 'websocket' | 'polling' | 'sse'

/** The network connection to one client. */
export interface Transport {
  readonly kind: TransportKind
  /** Passes one item to the network connection. */
  write(item: Outgoing): void
  /** Returns the number of bytes that were written but not yet accepted by the kernel. */
  bufferedBytes(): number
  /** Returns a number that changes whenever the kernel accepts bytes. */
  progress(): number
  /** Registers a listener that is called when the network connection can take more. */
  onDrain(listener: () => void): void
  /**
   * Closes the network connection. `again` and `final` first send the written items; `again` then
   * asks the client to reconnect, `final` does not. `hard` closes at once.
   */
  close(manner: 'again' | 'final' | 'hard'): void
}

/** Memory limit of the server for the outgoing queues of all connections. */
export class OutboundBudget {
  #heldBytes = 0
  readonly #all = new Set<Outbound>()
  /** Queues with at least one item that the transport has not taken. */
  readonly #stalled = new Set<Outbound>()
  readonly #watch: EventLoopStallDetector | undefined

  /**
   * @param watch - detects stalls of the event loop; while it forbids delivery, events wait in the
   * queues, within their limits
   */
  constructor(watch?: EventLoopStallDetector) {
    this.#watch = watch
    watch?.onResume(() => {
      for (const outbound of [...this.#stalled]) outbound.resume()
    })
  }

  /** Whether events may be sent now. */
  mayDeliver(): boolean {
    return this.#watch === undefined || this.#watch.mayDeliver()
  }

  /** Number of bytes in all outgoing queues; shared frames count once. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  hold(item: Outgoing): void {
    if (item.holders++ === 0) this.#heldBytes += item.bytes
  }

  release(item: Outgoing): void {
    if (--item.holders === 0) this.#heldBytes -= item.bytes
  }

  add(outbound: Outbound): void {
    this.#all.add(outbound)
  }

  delete(outbound: Outbound): void {
    this.#all.delete(outbound)
    this.#stalled.delete(outbound)
  }

  watch(outbound: Outbound): void {
    this.#stalled.add(outbound)
  }

  unwatch(outbound: Outbound): void {
    this.#stalled.delete(outbound)
  }

  /**
   * Closes the connections with the most unread bytes until the server is within its memory limit.
   */
  enforce(): void {
    while (this.#heldBytes > outboundLimits.serverMaxBytes) {
      let worst: Outbound | undefined
      for (const outbound of this.#stalled)
        if (worst === undefined || outbound.unreadBytes > worst.unreadBytes) worst = outbound
      if (worst === undefined) return
      worst.fail()
    }
  }

  /** Closes connections that made no progress for too long; called about once a second. */
  checkProgress(nowMs: number): void {
    for (const outbound of this.#all) outbound.checkProgress(nowMs)
  }
}

export class Outbound {
  readonly #transport: Transport
  readonly #budget: OutboundBudget
  readonly #onSlow: () => void
  #queue: Outgoing[] = []
  #queuedBytes = 0
  #drained: (() => void)[] = []
  #lastProgress = 0
  #lastProgressAtMs: number | undefined
  #closed = false

  constructor(transport: Transport, budget: OutboundBudget, onSlow: () => void) {
    this.#transport = transport
    this.#budget = budget
    this.#onSlow = onSlow
    budget.add(this)
    transport.onDrain(() => this.#flush())
  }

  get unreadBytes(): number {
    return this.#queuedBytes + this.#transport.bufferedBytes()
  }

  /** Whether any item waits in this queue. If so, live values are not queued (rule LIVE1). */
  get isBehind(): boolean {
    return this.#queue.length > 0 || !this.#budget.mayDeliver()
  }

  send(item: Outgoing): void {
    if (this.#closed) return
    if (
      (this.#queue.length === 0 || (item instanceof Answer && !this.#budget.mayDeliver())) &&
      this.#transport.bufferedBytes() < outboundLimits.transportMaxBytes &&
      this.#mayLeave(item)
    ) {
      this.#transport.write(item)
      return
    }
    if (this.#queue.length === 0) this.#budget.watch(this)
    this.#queue.push(item)
    this.#queuedBytes += item.bytes
    this.#budget.hold(item)
    if (this.unreadBytes > outboundLimits.connectionMaxBytes) this.fail()
    else this.#budget.enforce()
  }

  /** Resolves when every item has been passed to the transport, or the connection has closed. */
  async whenDrained(): Promise<void> {
    if (this.#closed || this.#queue.length === 0) return
    await new Promise<void>((resolve) => this.#drained.push(resolve))
  }

  /**
   * Closes the connection when it made no progress for too long. Bytes in the transport count, too:
   * a small output never waits in this queue, but it may still be stuck in the transport.
   */
  checkProgress(nowMs: number): void {
    if (this.unreadBytes === 0 || !this.#budget.mayDeliver()) {
      this.#lastProgressAtMs = undefined
      return
    }
    const progress = this.#transport.progress()
    if (progress !== this.#lastProgress || this.#lastProgressAtMs === undefined) {
      this.#lastProgress = progress
      this.#lastProgressAtMs = nowMs
      this.#flush()
    } else if (nowMs - this.#lastProgressAtMs > outboundLimits.stalledMaxMs) {
      this.fail()
    }
  }

  /** Sends the items that were held back. */
  resume(): void {
    this.#flush()
  }

  /** Closes a connection whose client does not read. */
  fail(): void {
    if (this.#closed) return
    this.close()
    this.#onSlow()
  }

  /** Drops all queued items. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const item of this.#queue) this.#budget.release(item)
    this.#queue = []
    this.#queuedBytes = 0
    this.#settle()
    this.#budget.delete(this)
  }

  /**
   * Returns whether an item may be sent now. Events wait after a stall of the event loop, until
   * this server has checked that their receivers may still see them (event-loop-stall-detector.ts).
   * Acknowledgements do not wait: the database has already decided the command, and a message is
   * answered within two seconds (rule ACK2).
   */
  #mayLeave(item: Outgoing): boolean {
    return item instanceof Answer || this.#budget.mayDeliver()
  }

  #flush(): void {
    const left: Outgoing[] = []
    let looked = 0
    for (; looked < this.#queue.length; looked++) {
      if (this.#transport.bufferedBytes() >= outboundLimits.transportMaxBytes) break
      const item = this.#queue[looked] as Outgoing
      if (!this.#mayLeave(item)) {
        left.push(item)
        continue
      }
      this.#queuedBytes -= item.bytes
      this.#budget.release(item)
      this.#transport.write(item)
    }
    if (looked === left.length) return
    this.#queue = looked === this.#queue.length ? left : [...left, ...this.#queue.slice(looked)]
    if (this.#queue.length === 0) this.#settle()
  }

  #settle(): void {
    this.#budget.unwatch(this)
    const waiting = this.#drained
    this.#drained = []
    for (const resolve of waiting) resolve()
  }
}
