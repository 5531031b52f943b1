/**
 * Decides when buffered changes are written. An idle server writes at once. Under load the flusher
 * pauses after each flush for as long as that flush took, so that changes form batches and the
 * event loop has time for input. A long flush yields to the event loop and continues in its next
 * turn.
 */
export const flusherTimings = {
  /** Maximum time that a flush runs without yielding to the event loop. */
  sliceMaxMs: 10,
  /** Maximum pause between two flushes. */
  pauseMaxMs: 50,
} as const

/** An object with buffered output. Its flush is a generator that can be paused and continued. */
export interface Flushable {
  flush(): Generator<void, void, void>
}

export class Flusher {
  readonly #nowMs: () => number
  readonly #onProblem: (problem: unknown) => void
  #dirty = new Set<Flushable>()
  #isScheduled = false
  #idle: (() => void)[] = []

  constructor(nowMs: () => number, onProblem: (problem: unknown) => void = () => undefined) {
    this.#nowMs = nowMs
    this.#onProblem = onProblem
  }

  /**
   * Requests that the object is flushed soon. Repeated requests before that flush have no effect.
   */
  schedule(flushable: Flushable): void {
    this.#dirty.add(flushable)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => void this.#run())
  }

  /** Resolves when no object is left to flush. */
  async whenIdle(): Promise<void> {
    if (!this.#isScheduled) return
    await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  async #run(): Promise<void> {
    while (this.#dirty.size > 0) {
      const batch = this.#dirty
      this.#dirty = new Set()
      const startedAtMs = this.#nowMs()
      let sliceAtMs = startedAtMs
      for (const flushable of batch) {
        try {
          for (const _ of flushable.flush()) {
            if (this.#nowMs() - sliceAtMs < flusherTimings.sliceMaxMs) continue
            await nextTurn()
            sliceAtMs = this.#nowMs()
          }
        } catch (problem) {
          // A failure of one feed must not stop the delivery of other feeds. The changes of the
          // failed feed stay undelivered, so its subscribers get no checkpoint that covers them.
          this.#onProblem(problem)
        }
      }
      const tookMs = this.#nowMs() - startedAtMs
      if (tookMs < 1) await nextTurn()
      else await new Promise((resolve) => setTimeout(resolve, Math.min(tookMs, flusherTimings.pauseMaxMs)))
    }
    this.#isScheduled = false
    const waiting = this.#idle
    this.#idle = []
    for (const resolve of waiting) resolve()
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
