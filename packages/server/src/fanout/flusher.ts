/**
 * When what has gathered is written. At once when the server is idle; under load with a pause as long as the last flush
 * took, so that changes gather into batches by need and input is never starved. A flush that takes long gives way to the
 * event loop and goes on in the next turn.
 */
export const flusherBounds = {
  /** Longest stretch without giving way to the event loop. */
  sliceMaxMs: 10,
  /** Longest pause between two flushes. */
  pauseMaxMs: 50,
} as const

/** Something with gathered output: a generator that may be left and taken up again. */
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

  /** Asks for a flush soon; asking again before it changes nothing. */
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
            if (this.#nowMs() - sliceAtMs < flusherBounds.sliceMaxMs) continue
            await nextTurn()
            sliceAtMs = this.#nowMs()
          }
        } catch (problem) {
          // A fault of one must not end delivery for all. Its own readers get no checkpoint past it.
          this.#onProblem(problem)
        }
      }
      const tookMs = this.#nowMs() - startedAtMs
      if (tookMs < 1) await nextTurn()
      else await new Promise((resolve) => setTimeout(resolve, Math.min(tookMs, flusherBounds.pauseMaxMs)))
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
