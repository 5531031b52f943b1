/**
 * What one connection of the canary received, and what that means. Each server numbers its messages from one each time it
 * starts, and numbers only what was acknowledged before, so in the order of the log the numbers of one start rise by one.
 * A number that is skipped and does not come within its time is lost; one that comes behind a later one is out of order; a
 * seq that a connection has had before is doubled. Pure: no clock, no network.
 */

export interface CanaryMessage {
  /** Name of the server that sent it. */
  readonly from: string
  /** The start of that server. */
  readonly boot: string
  readonly number: number
}

export interface LedgerObserver {
  received(from: string): void
  lost(from: string): void
  doubled(from: string): void
  reordered(from: string): void
}

export const ledgerBounds = {
  lostAfterMs: 30_000,
  /** A start that nothing was heard of for this long is over. */
  forgetAfterMs: 600_000,
  startsMax: 1_000,
  /** Skipped numbers that are waited for, per start; more are lost at once. */
  missingMax: 1_000,
} as const

interface Start {
  readonly from: string
  next: number
  heardAtMs: number
  /** Skipped numbers, with when they were. */
  readonly missing: Map<number, number>
}

export class CanaryLedger {
  readonly #observer: LedgerObserver
  readonly #starts = new Map<string, Start>()
  #topSeq = 0
  /** Top of the log when this connection began: up to there a resume may repeat. */
  #resumedSeq = 0

  constructor(observer: LedgerObserver) {
    this.#observer = observer
  }

  /** A new connection that resumes where the last one ended. */
  resume(): void {
    this.#resumedSeq = this.#topSeq
  }

  /** A new connection that does not: what was before is nobody's business. */
  restart(): void {
    this.#starts.clear()
    this.#topSeq = 0
    this.#resumedSeq = 0
  }

  /** False: it counts for nothing, not even its time, because a resume repeated it. */
  receive(seq: number, { from, boot, number }: CanaryMessage, nowMs: number): boolean {
    if (seq <= this.#topSeq) {
      if (seq > this.#resumedSeq) this.#observer.doubled(from)
      return false
    }
    this.#topSeq = seq
    this.#observer.received(from)
    const start = this.#starts.get(boot)
    if (start === undefined) {
      if (this.#starts.size < ledgerBounds.startsMax)
        this.#starts.set(boot, { from, next: number + 1, heardAtMs: nowMs, missing: new Map() })
      return true
    }
    start.heardAtMs = nowMs
    if (number < start.next) {
      // Behind a later one. Had it come before, its second row would have been the same message: one clientId, one row.
      this.#observer.reordered(from)
      start.missing.delete(number)
      return true
    }
    for (let skipped = start.next; skipped < number; skipped++) {
      if (start.missing.size < ledgerBounds.missingMax) start.missing.set(skipped, nowMs)
      else this.#observer.lost(from)
    }
    start.next = number + 1
    return true
  }

  /** Gives up on what is overdue. */
  settle(nowMs: number): void {
    for (const [boot, { from, missing, heardAtMs }] of this.#starts) {
      for (const [number, sinceMs] of missing) {
        if (nowMs - sinceMs < ledgerBounds.lostAfterMs) continue
        missing.delete(number)
        this.#observer.lost(from)
      }
      if (nowMs - heardAtMs > ledgerBounds.forgetAfterMs) this.#starts.delete(boot)
    }
  }
}
