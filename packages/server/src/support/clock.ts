/**
 * Clock for all waiting and measuring. It is monotonic, so a change of the machine's time does not
 * matter. It is passed to each part, so that tests can advance it by hand. Times shown to users
 * never come from this clock, but from the database.
 */

/** Timer that has not run yet. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Returns the milliseconds since an arbitrary moment. The number never decreases. */
  nowMs(): number
  /** Calls `callback` once after `delayMs`. A waiting timer does not keep the process running. */
  setTimer(callback: () => void, delayMs: number): Timer
}

/** Clock with real time. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer: (callback, delayMs) => {
    const handle = setTimeout(callback, delayMs)
    handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
}
