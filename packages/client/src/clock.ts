/** Time, timers and chance in one place, so that tests can hold them. Durations come from the monotonic clock. */

export interface Clock {
  /** Milliseconds of the monotonic clock; only differences mean something. */
  readonly now: () => number
  /** Milliseconds since 1970 by the device's clock; for display, and to notice that the device slept. */
  readonly wallNow: () => number
  /** A number in [0, 1). */
  readonly random: () => number
  /** Runs once after `delayMs`; the returned function cancels. */
  readonly after: (delayMs: number, run: () => void) => () => void
}

/** The real clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  random: () => Math.random(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
}
