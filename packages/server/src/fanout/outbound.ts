/**
 * What a connection has not read yet, with its two budgets: bytes and time without progress (rule SLOW1). Events and
 * acknowledgements share one queue, so a client cannot fill memory with the responses to its own commands.
 *
 * An item goes straight to the transport while that has little buffered; otherwise it waits here, where shared frames
 * are counted once for the whole server. Past a budget the connection is closed as slow and resumes by cursor.
 */
import { Answer, type Outgoing } from './frame.ts'
import type { StallWatch } from './stall-watch.ts'

export const outboundBounds = {
  /** Bytes that one connection may have unread. */
  connectionMaxBytes: 1_048_576,
  /** Bytes that all connections of the server may have waiting here, shared frames counted once. */
  serverMaxBytes: 50_331_648,
  /** A transport is given no more while it has this much buffered. */
  transportMaxBytes: 65_536,
  /** Time without any progress while something is unread. */
  stalledMaxMs: 10_000,
} as const

export type TransportKind = 'websocket' | 'polling' | 'sse'

/** A wire to one client. */
export interface Transport {
  readonly kind: TransportKind
  /** Hands one item to the wire. */
  write(item: Outgoing): void
  /** Bytes handed over that the kernel has not taken. */
  bufferedBytes(): number
  /** Changes whenever the kernel took something. */
  progress(): number
  /** Called when the transport may be given more. */
  onDrain(listener: () => void): void
  /** Ends the wire. `again` and `final` let what was written leave first, and say whether to come back; `hard` does not wait. */
  close(manner: 'again' | 'final' | 'hard'): void
}

/** The server's budget for all connections. */
export class OutboundBudget {
  #heldBytes = 0
  readonly #all = new Set<Outbound>()
  /** Those with something queued. */
  readonly #stalled = new Set<Outbound>()
  readonly #watch: StallWatch | undefined

  /** @param watch - while it says no, nothing leaves: everything waits in the queues, within their bounds */
  constructor(watch?: StallWatch) {
    this.#watch = watch
    watch?.onResume(() => {
      for (const outbound of [...this.#stalled]) outbound.resume()
    })
  }

  /** May anything be handed to a wire? */
  mayDeliver(): boolean {
    return this.#watch === undefined || this.#watch.mayDeliver()
  }

  /** Bytes waiting in all outbound queues, shared frames counted once. */
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

  /** Closes the most indebted first until the server is within its budget. */
  enforce(): void {
    while (this.#heldBytes > outboundBounds.serverMaxBytes) {
      let worst: Outbound | undefined
      for (const outbound of this.#stalled)
        if (worst === undefined || outbound.unreadBytes > worst.unreadBytes) worst = outbound
      if (worst === undefined) return
      worst.fail()
    }
  }

  /** Closes whoever made no progress for too long; called about once a second. */
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

  /** Is anything waiting here? Then live values give way (rule LIVE1). */
  get isBehind(): boolean {
    return this.#queue.length > 0 || !this.#budget.mayDeliver()
  }

  send(item: Outgoing): void {
    if (this.#closed) return
    if (
      (this.#queue.length === 0 || (item instanceof Answer && !this.#budget.mayDeliver())) &&
      this.#transport.bufferedBytes() < outboundBounds.transportMaxBytes &&
      this.#mayLeave(item)
    ) {
      this.#transport.write(item)
      return
    }
    if (this.#queue.length === 0) this.#budget.watch(this)
    this.#queue.push(item)
    this.#queuedBytes += item.bytes
    this.#budget.hold(item)
    if (this.unreadBytes > outboundBounds.connectionMaxBytes) this.fail()
    else this.#budget.enforce()
  }

  /** Resolves when everything was handed to the wire, or the connection closed. */
  async whenDrained(): Promise<void> {
    if (this.#closed || this.#queue.length === 0) return
    await new Promise<void>((resolve) => this.#drained.push(resolve))
  }

  /** What the wire still holds counts, too: little enough never waits here, and may stand still all the same. */
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
    } else if (nowMs - this.#lastProgressAtMs > outboundBounds.stalledMaxMs) {
      this.fail()
    }
  }

  /** What was held back may leave. */
  resume(): void {
    this.#flush()
  }

  /** Gives up on this reader. */
  fail(): void {
    if (this.#closed) return
    this.close()
    this.#onSlow()
  }

  /** Forgets what is queued. */
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
   * Events wait while this server does not know whether they are still allowed (stall-watch.ts). Acknowledgements do not:
   * the database has already decided, and a send is answered within two seconds (rule ACK2).
   */
  #mayLeave(item: Outgoing): boolean {
    return item instanceof Answer || this.#budget.mayDeliver()
  }

  #flush(): void {
    const left: Outgoing[] = []
    let looked = 0
    for (; looked < this.#queue.length; looked++) {
      if (this.#transport.bufferedBytes() >= outboundBounds.transportMaxBytes) break
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
