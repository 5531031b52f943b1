/**
 * The sessions that were revoked lately, so that none of them counts by what a cache still says (rule ACL2). Loaded from
 * the database at the start and in each new history, then followed by the bus and the sweep.
 *
 * Promises: as long as it is complete, every session revoked within the last `keptMs` that this server was told of is in it.
 * It is not complete while it loads, nor for a while after it had to drop one for want of room: then no cache counts.
 */
import type { Id } from '@chorus/protocol'
import type { Clock, Timer } from '../support/clock.ts'

export const revocationBounds = {
  /** How long each is remembered: far longer than anything cached about a session counts. */
  keptMs: 600_000,
  revocationsMax: 50_000,
  retryMs: 1_000,
} as const

export interface RecentRevocationsOptions {
  /** Those of the last `withinMs`, at most `limit`, the newest first. */
  readonly load: (withinMs: number, limit: number) => Promise<readonly Id[]>
  readonly clock: Clock
  readonly onProblem: (problem: unknown) => void
}

export class RecentRevocations {
  readonly #options: RecentRevocationsOptions
  /** When each was noted; the oldest first. */
  readonly #notedAtMs = new Map<Id, number>()
  /** Counts the loads: one of an earlier history says nothing about this. */
  #turn = 0
  #isLoaded = false
  #incompleteUntilMs = Number.NEGATIVE_INFINITY
  #timer: Timer | undefined

  constructor(options: RecentRevocationsOptions) {
    this.#options = options
  }

  /** Can a session that is not here be taken for one that was not revoked lately, as far as this server was told? */
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

  /** Loads, again if need be: at the start, and in each new history. Tries until it succeeds. */
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
    const { keptMs, revocationsMax, retryMs } = revocationBounds
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
    const { keptMs, revocationsMax } = revocationBounds
    for (const [session, notedAtMs] of this.#notedAtMs) {
      const isOld = nowMs - notedAtMs > keptMs
      if (!isOld && this.#notedAtMs.size <= revocationsMax) return
      this.#notedAtMs.delete(session)
      if (!isOld) this.#incompleteUntilMs = Math.max(this.#incompleteUntilMs, notedAtMs + keptMs)
    }
  }
}
