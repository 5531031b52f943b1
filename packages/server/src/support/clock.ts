/**
 * Clock for all waiting and measuring. It is monotonic, so a jump of the wall clock changes
 * nothing, and it is passed in, so that tests can advance it by hand. Times shown to users come
 * from the database, never from here.
 */

/** A pending timer. */
export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Returns the milliseconds since an arbitrary moment; never decreases. */
  nowMs(): number
  /** Calls `callback` once after `delayMs`. Does not keep the process alive. */
  setTimer(callback: () => void, delayMs: number): Timer
}

/** Real time. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  setTimer: (callback, delayMs) => {
    const handle = setTimeout(callback, delayMs)
    handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
}
