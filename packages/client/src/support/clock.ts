/**
 * Time, timers and randomness behind one interface, so that tests can control them. Durations are
 * measured with the monotonic clock.
 */

/**
 * Source of time, timers and randomness. Applications normally leave it out and get the system
 * clock.
 */
export interface Clock {
  /**
   * Returns the monotonic time in milliseconds. Only differences between two results are
   * meaningful.
   */
  readonly now: () => number
  /**
   * Returns the device's wall-clock time in milliseconds since 1970. Used for display and to notice
   * that the device slept.
   */
  readonly wallNow: () => number
  /** Returns a random number from 0 (inclusive) to 1 (exclusive). */
  readonly random: () => number
  /** Runs the callback once after `delayMs` milliseconds. The returned function cancels it. */
  readonly after: (delayMs: number, run: () => void) => () => void
}

/** Clock that uses the system's time, timers and random numbers. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  random: () => Math.random(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
}
