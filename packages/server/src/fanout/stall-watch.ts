/**
 * After this process stood still (frozen, or busy with one thing for more than a second) it knows less than it believes:
 * members may have been removed and sessions revoked meanwhile. So from the first moment after a stall nothing leaves for
 * any client, until a sweep that began after it has told what happened (rules ACL1, ACL2; contract, "server frozen").
 *
 * The moment is found by asking the clock at whatever leaves first in a turn of the event loop, not by a timer alone: what
 * waited in the sockets is handed over before any timer runs.
 */
import type { Clock, Timer } from '../support/clock.ts'

export const stallBounds = {
  beatMs: 250,
  /** A beat that is late by more than this was a stall. */
  latenessMaxMs: 1_000,
} as const

export interface StallWatchOptions {
  readonly clock: Clock
  /** It stood still for so long: sweep now. */
  readonly onStall: (forMs: number) => void
}

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'delivering' }
  /** Until a sweep has ended that began at or after this moment. */
  | { readonly kind: 'holding'; readonly sinceMs: number }

export class StallWatch {
  readonly #options: StallWatchOptions
  readonly #listeners: (() => void)[] = []
  #state: State = { kind: 'idle' }
  #lastBeatMs = 0
  #timer: Timer | undefined
  #isLookedAt = false

  constructor(options: StallWatchOptions) {
    this.#options = options
  }

  start(): void {
    this.#state = { kind: 'delivering' }
    this.#lastBeatMs = this.#options.clock.nowMs()
    this.#beat()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#state = { kind: 'idle' }
  }

  /** May anything leave? Cheap: the clock is asked once per turn of the event loop. */
  mayDeliver(): boolean {
    if (!this.#isLookedAt) {
      this.#isLookedAt = true
      // Before the loop can wait for anything again.
      setImmediate(() => {
        this.#isLookedAt = false
      })
      this.#look()
    }
    return this.#state.kind !== 'holding'
  }

  /** A sweep that began at this moment has told everything it found. */
  swept(beganAtMs: number): void {
    if (this.#state.kind !== 'holding' || beganAtMs < this.#state.sinceMs) return
    this.#state = { kind: 'delivering' }
    for (const listener of this.#listeners) listener()
  }

  /** Called when what was held may leave. */
  onResume(listener: () => void): void {
    this.#listeners.push(listener)
  }

  #look(): void {
    if (this.#state.kind === 'idle') return
    const nowMs = this.#options.clock.nowMs()
    const lateMs = nowMs - this.#lastBeatMs - stallBounds.beatMs
    if (lateMs <= stallBounds.latenessMaxMs) return
    this.#lastBeatMs = nowMs
    this.#state = { kind: 'holding', sinceMs: nowMs }
    this.#options.onStall(lateMs)
  }

  #beat(): void {
    this.#timer = this.#options.clock.setTimer(() => {
      this.#look()
      this.#lastBeatMs = this.#options.clock.nowMs()
      this.#beat()
    }, stallBounds.beatMs)
  }
}
