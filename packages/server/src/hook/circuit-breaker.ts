/**
 * Stops questions to a hook that does not answer, so that messages do not wait a second each.
 *
 * After {@link breakerLimits.failuresMax} failures in a row it opens. After a pause, it lets one
 * question through as a trial: an answer closes it, a failure doubles the pause. The first pause is
 * short, because a member may cause a few slow answers on purpose.
 */
import type { Clock } from '../support/clock.ts'

export const breakerLimits = {
  failuresMax: 5,
  pauseMinMs: 1_000,
  pauseMaxMs: 30_000,
} as const

export interface BreakerOptions {
  readonly clock: Clock
  /** Called when the breaker opens or closes. */
  readonly onChange: (state: 'open' | 'closed') => void
}

export class CircuitBreaker {
  readonly #options: BreakerOptions
  #failures = 0
  #pauseMs = 0
  #retryAtMs = 0
  #hasTrial = false

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  /** Returns the time until the next trial, or 0 if a question may be asked now. */
  get closedForMs(): number {
    if (this.#pauseMs === 0) return 0
    const leftMs = Math.ceil(this.#retryAtMs - this.#options.clock.nowMs())
    return this.#hasTrial ? Math.max(leftMs, breakerLimits.pauseMinMs) : Math.max(leftMs, 0)
  }

  /**
   * Returns false if no question may be asked now. After true, the caller must report the outcome
   * by {@link succeed} or {@link fail}.
   */
  admit(): boolean {
    if (this.closedForMs > 0) return false
    if (this.#pauseMs > 0) this.#hasTrial = true
    return true
  }

  succeed(): void {
    const wasOpen = this.#pauseMs > 0
    this.#failures = 0
    this.#pauseMs = 0
    this.#hasTrial = false
    if (wasOpen) this.#options.onChange('closed')
  }

  fail(): void {
    this.#failures++
    const { failuresMax, pauseMinMs, pauseMaxMs } = breakerLimits
    const isOpen = this.#pauseMs > 0
    // Questions that began before the breaker opened do not lengthen its pause.
    if (isOpen ? !this.#hasTrial : this.#failures < failuresMax) return
    this.#hasTrial = false
    this.#pauseMs = isOpen ? Math.min(2 * this.#pauseMs, pauseMaxMs) : pauseMinMs
    this.#retryAtMs = this.#options.clock.nowMs() + this.#pauseMs
    if (!isOpen) this.#options.onChange('open')
  }
}
