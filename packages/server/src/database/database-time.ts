/**
 * Provides the database's time without a query per call. All servers use the same time, and a wrong
 * or jumping wall clock has no effect.
 *
 * The offset from the database's clock to the monotonic clock is measured at the start and once a
 * minute.
 */
import type { Clock, Timer } from '../support/clock.ts'
import type { Database } from './database.ts'

export const databaseTimeTimings = { measureEveryMs: 60_000, retryMs: 5_000 } as const

export class DatabaseTime {
  readonly #database: Database
  readonly #clock: Clock
  readonly #onProblem: (problem: unknown) => void
  /** Offset to add to the monotonic clock to get the database's time. */
  #offsetMs = 0
  #timer: Timer | undefined
  #isStopped = false

  /**
   * Measures the clock offset once and starts the timer. Rejects when the database does not answer.
   */
  static async start(database: Database, clock: Clock, onProblem: (problem: unknown) => void): Promise<DatabaseTime> {
    const time = new DatabaseTime(database, clock, onProblem)
    await time.#measure()
    time.#schedule(databaseTimeTimings.measureEveryMs)
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
        () => this.#schedule(databaseTimeTimings.measureEveryMs),
        (problem: unknown) => {
          this.#onProblem(problem)
          this.#schedule(databaseTimeTimings.retryMs)
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
    if (row === undefined) throw new Error('the database did not return the time')
    // The database read its clock at some moment between request and response, so assume the
    // middle.
    this.#offsetMs = Date.parse(row.now) - (askedAtMs + this.#clock.nowMs()) / 2
  }
}
