/**
 * Ledger of the canary messages that one connection received. It counts lost, doubled and reordered
 * messages. Each server numbers its messages from 1 at each start of the server, and sends the next
 * number only after the previous message was acknowledged. So in log order the numbers of one start
 * rise by one.
 *
 * A skipped number that does not arrive in time is lost. A number that arrives after a later one is
 * out of order. A seq that the same connection received before is doubled. The ledger is pure: it
 * uses no clock and no network.
 */

export interface CanaryMessage {
  /** Name of the server that sent the message. */
  readonly from: string
  /** Random id of the start of that server. */
  readonly boot: string
  readonly number: number
}

export interface LedgerObserver {
  received(from: string): void
  lost(from: string): void
  doubled(from: string): void
  reordered(from: string): void
}

export const ledgerLimits = {
  lostAfterMs: 30_000,
  /** Time without messages after which the ledger forgets a start of a server. */
  forgetAfterMs: 600_000,
  startsMax: 1_000,
  /**
   * Maximum number of skipped message numbers that the ledger waits for, per start of a server.
   * Further skipped numbers count as lost at once.
   */
  missingMax: 1_000,
} as const

interface Start {
  readonly from: string
  next: number
  heardAtMs: number
  /** Skipped message numbers, each with the time when it was skipped. */
  readonly missing: Map<number, number>
}

export class CanaryLedger {
  readonly #observer: LedgerObserver
  readonly #starts = new Map<string, Start>()
  #topSeq = 0
  /**
   * Highest seq received when this connection began. A resume may repeat changes up to this seq.
   */
  #resumedSeq = 0

  constructor(observer: LedgerObserver) {
    this.#observer = observer
  }

  /** Notes that a new connection resumes from the end of the last one. */
  resume(): void {
    this.#resumedSeq = this.#topSeq
  }

  /** Notes that a new connection starts without a cursor: forgets everything received before. */
  restart(): void {
    this.#starts.clear()
    this.#topSeq = 0
    this.#resumedSeq = 0
  }

  /**
   * Counts one received message. Returns false if the message was received before; the caller then
   * must not record its latency.
   */
  receive(seq: number, { from, boot, number }: CanaryMessage, nowMs: number): boolean {
    if (seq <= this.#topSeq) {
      if (seq > this.#resumedSeq) this.#observer.doubled(from)
      return false
    }
    this.#topSeq = seq
    this.#observer.received(from)
    const start = this.#starts.get(boot)
    if (start === undefined) {
      if (this.#starts.size < ledgerLimits.startsMax)
        this.#starts.set(boot, { from, next: number + 1, heardAtMs: nowMs, missing: new Map() })
      return true
    }
    start.heardAtMs = nowMs
    if (number < start.next) {
      // This number arrives after a later one. It cannot be a second arrival of the same message:
      // that would repeat a seq, because each clientId has one row.
      this.#observer.reordered(from)
      start.missing.delete(number)
      return true
    }
    for (let skipped = start.next; skipped < number; skipped++) {
      if (start.missing.size < ledgerLimits.missingMax) start.missing.set(skipped, nowMs)
      else this.#observer.lost(from)
    }
    start.next = number + 1
    return true
  }

  /**
   * Counts skipped numbers as lost once they are overdue, and forgets starts of servers that sent
   * nothing for long.
   */
  settle(nowMs: number): void {
    for (const [boot, { from, missing, heardAtMs }] of this.#starts) {
      for (const [number, sinceMs] of missing) {
        if (nowMs - sinceMs < ledgerLimits.lostAfterMs) continue
        missing.delete(number)
        this.#observer.lost(from)
      }
      if (nowMs - heardAtMs > ledgerLimits.forgetAfterMs) this.#starts.delete(boot)
    }
  }
}
