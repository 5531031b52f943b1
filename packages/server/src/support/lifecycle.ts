/**
 * Starts the parts of a server in order and stops them in reverse. If a start fails, it throws, and
 * the caller stops the parts that have started. A stop has a deadline: a part that exceeds it is
 * reported and left running, so that the process always ends.
 */
import type { Clock, Timer } from './clock.ts'

export interface Part {
  readonly name: string
  start?(): Promise<void>
  stop?(): Promise<void>
}

export class Lifecycle {
  readonly #clock: Clock
  readonly #onProblem: (part: string, problem: unknown) => void
  readonly #started: Part[] = []

  constructor(clock: Clock, onProblem: (part: string, problem: unknown) => void) {
    this.#clock = clock
    this.#onProblem = onProblem
  }

  /** Starts the next part. Parts that were started before are already running. */
  async start(part: Part): Promise<void> {
    await part.start?.()
    this.#started.push(part)
  }

  /**
   * Stops all parts in reverse order, within `deadlineMs` in total. Never throws. Returns the names
   * of parts that exceeded the deadline.
   */
  async stop(deadlineMs: number): Promise<readonly string[]> {
    const endMs = this.#clock.nowMs() + deadlineMs
    const leftBehind: string[] = []
    for (let part = this.#started.pop(); part !== undefined; part = this.#started.pop()) {
      const outcome = await this.#stopPart(part, Math.max(0, endMs - this.#clock.nowMs()))
      if (outcome === 'late') leftBehind.push(part.name)
    }
    return leftBehind
  }

  async #stopPart(part: Part, withinMs: number): Promise<'stopped' | 'late'> {
    let timer: Timer | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = this.#clock.setTimer(() => resolve('late'), withinMs)
    })
    const stopped = Promise.resolve(part.stop?.()).then(
      () => 'stopped' as const,
      (problem: unknown) => {
        this.#onProblem(part.name, problem)
        return 'stopped' as const
      },
    )
    const outcome = await Promise.race([stopped, late])
    timer?.cancel()
    if (outcome === 'late') this.#onProblem(part.name, new Error(`did not stop within ${Math.round(withinMs)} ms`))
    return outcome
  }
}
