/**
 * Lifetime of a part of the client: from start to stop, or from sign-in to sign-out.
 *
 * Guarantee: after `end`, none of its timers runs and its requests are aborted. Timers of `waits`
 * run at once, so that the code that waits for them can continue and fail.
 */
import { ChorusError } from '@chorus/protocol'
import type { Clock } from './clock.ts'

export class Lifetime {
  /** Clock whose timers are cancelled when the lifetime ends. */
  readonly clock: Clock
  /**
   * Timers that run at once when the lifetime ends, instead of being cancelled. For promises that
   * would otherwise stay pending forever.
   */
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

  /**
   * Throws `unavailable` when the lifetime is over. `doing` completes the message `unable to …`.
   */
  assert(doing: string): void {
    if (this.isOver) throw new ChorusError('unavailable', `unable to ${doing}; the client was stopped`)
  }

  end(): void {
    this.#abort.abort()
    for (const end of [...this.#ends]) end()
  }
}
