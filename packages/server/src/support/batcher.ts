/**
 * Combines requests for database reads that are made in one turn of the event loop into one read.
 * So a burst of requests costs only a few statements (rule LIM2).
 */
export interface BatcherOptions<Ask, Answer> {
  /** Reads for several requests at once. Must return one result per request, in the same order. */
  readonly run: (asks: readonly Ask[]) => Promise<readonly Answer[]>
  /** Maximum number of requests in one read. */
  readonly batchMax: number
  /** Maximum number of waiting requests. Further requests are rejected with `refusal`. */
  readonly waitingMax: number
  readonly refusal: () => Error
}

interface Waiting<Ask, Answer> {
  readonly ask: Ask
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

export class Batcher<Ask, Answer> {
  readonly #options: BatcherOptions<Ask, Answer>
  #waiting: Waiting<Ask, Answer>[] = []
  #isRunning = false

  constructor(options: BatcherOptions<Ask, Answer>) {
    this.#options = options
  }

  ask(ask: Ask): Promise<Answer> {
    if (this.#waiting.length >= this.#options.waitingMax) return Promise.reject(this.#options.refusal())
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ask, resolve, reject })
      if (this.#isRunning) return
      this.#isRunning = true
      setImmediate(() => void this.#run())
    })
  }

  /** Runs one read at a time. Requests that arrive during a read are combined into the next one. */
  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#options.batchMax)
      try {
        const answers = await this.#options.run(batch.map(({ ask }) => ask))
        batch.forEach(({ resolve, reject }, index) => {
          const answer = answers[index]
          if (answer === undefined) reject(new Error('a batched read returned too few results'))
          else resolve(answer)
        })
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#isRunning = false
  }
}
