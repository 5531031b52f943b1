/**
 * Decides when buffered changes are written. An idle server writes at once. Under load it pauses as
 * long as the last flush took, so that changes form batches and input is never starved. A long
 * flush yields to the event loop and continues in the next turn.
 */
export const flusherTimings = {
  /** Maximum time without yielding to the event loop. */
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

  /** Requests a flush soon. Repeated requests before that flush have no effect. */
  schedule(flushable: Flushable): void {
    this.#dirty.add(flushable)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => void this.#run())
  }

  /** Resolves when nothing is left to flush. */
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
          // A failure of one feed must not stop delivery for all. Its own subscribers get no
          // checkpoint past it.
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
