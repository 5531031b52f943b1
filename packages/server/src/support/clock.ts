/**
 * Time for everything that waits or measures: monotonic, so a wall clock that jumps changes nothing, and handed in, so
 * tests turn it by hand. Times that people see come from the database, never from here.
 */

/** A pending timer. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Milliseconds since an arbitrary moment; never goes back. */
  nowMs(): number
  /** Calls back once after `delayMs`. Does not keep the process alive. */
  setTimer(callback: () => void, delayMs: number): Timer
}

/** The real one. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer: (callback, delayMs) => {
    const handle = setTimeout(callback, delayMs)
    handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
}
