/**
 * The set of recently revoked sessions. The session cache accepts no entry of a session in this set
 * (rule ACL2). It is loaded from the database at the start and in each new database epoch, then
 * kept current by the bus and the sweep.
 *
 * Guarantee: while `isComplete`, the set contains every session revoked within the last `keptMs`
 * that this server knows of. The set is incomplete while it loads, and for a while after it dropped
 * a session to stay within its maximum size. While it is incomplete, no cache entry is accepted.
 */
import type { Id } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'

export const revocationLimits = {
  /** Time for which each revocation is kept. It is far longer than a cached session is valid. */
  keptMs: 600_000,
  revocationsMax: 50_000,
  retryMs: 1_000,
} as const

export interface RecentRevocationsOptions {
  /** Loads the revocations of the last `withinMs`, at most `limit`, the newest first. */
  readonly load: (withinMs: number, limit: number) => Promise<readonly Id[]>
  readonly clock: Clock
  readonly onProblem: (problem: unknown) => void
}

export class RecentRevocations {
  readonly #options: RecentRevocationsOptions
  /** Time at which each revoked session was noted; the oldest first. */
  readonly #notedAtMs = new Map<Id, number>()
  /**
   * Number of the current load. The result of an earlier load is ignored, because it may come from
   * another database epoch.
   */
  #turn = 0
  #isLoaded = false
  #incompleteUntilMs = Number.NEGATIVE_INFINITY
  #timer: Timer | undefined

  constructor(options: RecentRevocationsOptions) {
    this.#options = options
  }

  /** True if every recent revocation that this server knows of is in the set. */
  get isComplete(): boolean {
    return this.#isLoaded && this.#options.clock.nowMs() >= this.#incompleteUntilMs
  }

  has(session: Id): boolean {
    return this.#notedAtMs.has(session)
  }

  note(sessions: readonly Id[]): void {
    const nowMs = this.#options.clock.nowMs()
    for (const session of sessions) {
      if (this.#notedAtMs.has(session)) continue
      this.#notedAtMs.set(session, nowMs)
      this.#makeRoom(nowMs)
    }
  }

  /**
   * Loads the revocations again, at the start and in each new database epoch. Retries until a load
   * succeeds.
   */
  load(): void {
    this.#isLoaded = false
    this.#timer?.cancel()
    void this.#load(++this.#turn)
  }

  stop(): void {
    this.#turn++
    this.#timer?.cancel()
  }

  async #load(turn: number): Promise<void> {
    const { load, clock, onProblem } = this.#options
    const { keptMs, revocationsMax, retryMs } = revocationLimits
    try {
      const sessions = await load(keptMs, revocationsMax + 1)
      if (turn !== this.#turn) return
      if (sessions.length > revocationsMax) this.#incompleteUntilMs = clock.nowMs() + keptMs
      this.note(sessions.slice(0, revocationsMax))
      this.#isLoaded = true
    } catch (error) {
      if (turn !== this.#turn) return
      onProblem(error)
      this.#timer = clock.setTimer(() => void this.#load(turn), retryMs)
    }
  }

  #makeRoom(nowMs: number): void {
    const { keptMs, revocationsMax } = revocationLimits
    for (const [session, notedAtMs] of this.#notedAtMs) {
      const isOld = nowMs - notedAtMs > keptMs
      if (!isOld && this.#notedAtMs.size <= revocationsMax) return
      this.#notedAtMs.delete(session)
      if (!isOld) this.#incompleteUntilMs = Math.max(this.#incompleteUntilMs, notedAtMs + keptMs)
    }
  }
}
