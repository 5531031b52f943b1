/**
 * The database's time without asking it each time: its distance from the monotonic clock is measured at the start and once
 * a minute. All servers stamp alike, and a wall clock that is an hour off, or jumps, changes nothing.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Database } from './database.ts'

export const timeBounds = { measureEveryMs: 60_000, retryMs: 5_000 } as const

export class DatabaseTime {
  readonly #database: Database
  readonly #clock: Clock
  readonly #onProblem: (problem: unknown) => void
  /** Add to the monotonic clock. */
  #offsetMs = 0
  #timer: Timer | undefined
  #isStopped = false

  /** Rejects when the time cannot be asked for. */
  static async start(database: Database, clock: Clock, onProblem: (problem: unknown) => void): Promise<DatabaseTime> {
    const time = new DatabaseTime(database, clock, onProblem)
    await time.#measure()
    time.#schedule(timeBounds.measureEveryMs)
    return time
  }

  private constructor(database: Database, clock: Clock, onProblem: (problem: unknown) => void) {
    this.#database = database
    this.#clock = clock
    this.#onProblem = onProblem
  }

  now(): Date {
    return new Date(this.#clock.nowMs() + this.#offsetMs)
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #schedule(delayMs: number): void {
    if (this.#isStopped) return
    this.#timer = this.#clock.setTimer(() => {
      this.#measure().then(
        () => this.#schedule(timeBounds.measureEveryMs),
        (problem: unknown) => {
          this.#onProblem(problem)
          this.#schedule(timeBounds.retryMs)
        },
      )
    }, delayMs)
  }

  async #measure(): Promise<void> {
    const askedAtMs = this.#clock.nowMs()
    const [row] = await this.#database.query<{ now: string }>({
      name: 'read_time',
      text: 'select clock_timestamp() as now',
    })
    if (row === undefined) throw new Error('the database did not tell the time')
    // It was read somewhere between the question and the answer.
    this.#offsetMs = Date.parse(row.now) - (askedAtMs + this.#clock.nowMs()) / 2
  }
}
