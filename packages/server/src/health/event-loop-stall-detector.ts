/**
 * Detects that this process was paused for more than a second, because it was frozen or busy. In
 * that time, members may have been removed and sessions revoked by other servers. So from the first
 * moment after a stall no event is sent to any client, until a sweep that began after the stall has
 * been applied (rules ACL1, ACL2; contract, "server frozen").
 *
 * A timer alone would detect a stall too late: after a stall, data that waited in the sockets is
 * handled before any timer runs. So the first send in each turn of the event loop checks the clock.
 */
import type { Clock, Timer } from '../support/clock.ts'

export const stallTimings = {
  beatMs: 250,
  /** Maximum delay of a timer. A longer delay counts as a stall. */
  latenessMaxMs: 1_000,
} as const

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'delivering' }
  /** Events are held until a sweep that began at `sinceMs` or later has been applied. */
  | { readonly kind: 'holding'; readonly sinceMs: number }

export class EventLoopStallDetector {
  readonly #clock: Clock
  #onStall: (forMs: number) => void = () => undefined
  readonly #listeners: (() => void)[] = []
  #state: State = { kind: 'idle' }
  #lastBeatMs = 0
  #timer: Timer | undefined
  #isLookedAt = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Starts to detect stalls. Calls `onStall` with the length of each stall, so that the server
   * sweeps at once.
   */
  start(onStall: (forMs: number) => void): void {
    this.#onStall = onStall
    this.#state = { kind: 'delivering' }
    this.#lastBeatMs = this.#clock.nowMs()
    this.#beat()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#state = { kind: 'idle' }
  }

  /**
   * Returns whether events may be sent now. Checks the clock only once per turn of the event loop.
   */
  mayDeliver(): boolean {
    if (!this.#isLookedAt) {
      this.#isLookedAt = true
      // At the end of this turn of the event loop, reset the flag, so that the clock is checked
      // again in the next turn.
      setImmediate(() => {
        this.#isLookedAt = false
      })
      this.#look()
    }
    return this.#state.kind !== 'holding'
  }

  /** Records that a sweep that began at this time has been applied. */
  swept(beganAtMs: number): void {
    if (this.#state.kind !== 'holding' || beganAtMs < this.#state.sinceMs) return
    this.#state = { kind: 'delivering' }
    for (const listener of this.#listeners) listener()
  }

  /** Registers a listener that is called when held events may be sent. */
  onResume(listener: () => void): void {
    this.#listeners.push(listener)
  }

  #look(): void {
    if (this.#state.kind === 'idle') return
    const nowMs = this.#clock.nowMs()
    const lateMs = nowMs - this.#lastBeatMs - stallTimings.beatMs
    if (lateMs <= stallTimings.latenessMaxMs) return
    this.#lastBeatMs = nowMs
    this.#state = { kind: 'holding', sinceMs: nowMs }
    this.#onStall(lateMs)
  }

  #beat(): void {
    this.#timer = this.#clock.setTimer(() => {
      this.#look()
      this.#lastBeatMs = this.#clock.nowMs()
      this.#beat()
    }, stallTimings.beatMs)
  }
}
