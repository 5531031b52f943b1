/**
 * The time in which a part of the client may act: from start to stop, or from sign-in to sign-out. Guarantee: once it is
 * over, none of its timers runs, its requests are aborted, and what waits for its turn goes on at once to be refused.
 */
import { ChorusError } from '@chorus/protocol'
import type { Clock } from './clock.ts'

export class Lifetime {
  /** The clock of this time: its timers end with it. */
  readonly clock: Clock
  /** The same, but the timers run early when the time ends: for waits that something depends on. */
  readonly waits: Pick<Clock, 'after' | 'random'>
  readonly #abort = new AbortController()
  readonly #ends = new Set<() => void>()

  constructor(clock: Clock) {
    const after = (delayMs: number, run: () => void, atEnd: () => void): (() => void) => {
      if (this.isOver) {
        atEnd()
        return () => undefined
      }
      const forget = (): void => {
        cancel()
        this.#ends.delete(end)
      }
      const end = (): void => {
        forget()
        atEnd()
      }
      const cancel = clock.after(delayMs, () => {
        this.#ends.delete(end)
        run()
      })
      this.#ends.add(end)
      return forget
    }
    const { now, wallNow, random } = clock
    this.clock = { now, wallNow, random, after: (delayMs, run) => after(delayMs, run, () => undefined) }
    this.waits = { random, after: (delayMs, run) => after(delayMs, run, () => queueMicrotask(run)) }
  }

  get isOver(): boolean {
    return this.#abort.signal.aborted
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** Refuses to go on with something when the time is over. */
  assert(doing: string): void {
    if (this.isOver) throw new ChorusError('unavailable', `unable to ${doing}; the client was stopped`)
  }

  end(): void {
    this.#abort.abort()
    for (const end of [...this.#ends]) end()
  }
}
