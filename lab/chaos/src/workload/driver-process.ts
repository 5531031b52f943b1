/**
 * The chaos run's end of the pipe to a workload process (a driver). Sends requests and waits for
 * each response with a timeout.
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { DriverJob, DriverStatus, FromDriver, ToDriver, Top } from './job.ts'

const startTimeoutMs = 120_000
/**
 * Time to wait for a response in addition to the request's own timeout, because the machine is
 * busy.
 */
const answerMarginMs = 30_000
const finalTimeoutMs = 30 * 60_000

type Answer = Extract<FromDriver, { kind: 'ready' | 'awaited' | 'settled' | 'final-done' | 'ended' }>

export interface DriverProcessOptions {
  readonly job: DriverJob
  readonly nodeArguments: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly onProblem: (text: string) => void
  /**
   * Called when the workload process exits or fails by its own bug. The run then proves nothing.
   */
  readonly onBroken: (error: Error) => void
}

const nothing: DriverStatus = { acknowledged: 0, deliveries: 0, infos: 0, fails: 0, waiting: 0, attached: 0 }

export class DriverProcess {
  readonly #child: ChildProcess
  readonly #name: string
  readonly #waiting = new Set<(message: FromDriver) => void>()
  #status = nothing
  #lastAwait = 0
  #isEnding = false

  private constructor(options: DriverProcessOptions) {
    this.#name = options.job.name
    this.#child = fork(fileURLToPath(new URL('./driver-main.js', import.meta.url)), [], {
      execArgv: ['--max-semi-space-size=32', ...options.nodeArguments],
      env: { ...process.env, ...options.env },
    })
    this.#child.on('message', (message: FromDriver) => {
      switch (message.kind) {
        case 'status':
          this.#status = message.status
          return
        case 'problem':
          options.onProblem(message.text)
          return
        case 'failed':
          options.onBroken(new Error(`unable to continue; ${this.#name} failed: ${message.message}`))
          return
        case 'ready':
        case 'awaited':
        case 'settled':
        case 'final-done':
        case 'ended':
          for (const take of [...this.#waiting]) take(message)
      }
    })
    this.#child.on('exit', (code) => {
      if (!this.#isEnding)
        options.onBroken(new Error(`unable to continue; ${this.#name} ended with ${code ?? 'a signal'}`))
    })
  }

  /** Starts a workload process and its clients. */
  static async start(options: DriverProcessOptions): Promise<DriverProcess> {
    const driver = new DriverProcess(options)
    const ready = driver.#answer('ready', startTimeoutMs)
    driver.tell({ kind: 'job', job: options.job })
    await ready
    return driver
  }

  get status(): DriverStatus {
    return this.#status
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  tell(message: ToDriver): void {
    if (this.#child.connected) this.#child.send(message)
  }

  /**
   * Waits until all clients have received their conversations up to `tops`. Returns descriptions of
   * the clients that have not done so at the timeout.
   */
  async awaitTops(tops: readonly Top[], timeoutMs: number): Promise<readonly string[]> {
    this.#lastAwait += 1
    const id = this.#lastAwait
    const answer = this.#answer('awaited', timeoutMs + answerMarginMs, (message) => message.id === id)
    this.tell({ kind: 'await', id, tops, timeoutMs })
    return (await answer).behind
  }

  async settle(timeoutMs: number): Promise<number> {
    const answer = this.#answer('settled', timeoutMs + answerMarginMs)
    this.tell({ kind: 'settle', timeoutMs })
    return (await answer).waiting
  }

  async readFinally(tops: readonly Top[]): Promise<void> {
    const answer = this.#answer('final-done', finalTimeoutMs)
    this.tell({ kind: 'final', tops })
    await answer
  }

  async end(): Promise<void> {
    const answer = this.#answer('ended', answerMarginMs)
    this.tell({ kind: 'end' })
    await answer
    this.kill()
  }

  kill(): void {
    this.#isEnding = true
    this.#child.kill('SIGKILL')
  }

  #answer<Kind extends Answer['kind']>(
    kind: Kind,
    timeoutMs: number,
    fits: (message: Extract<Answer, { kind: Kind }>) => boolean = () => true,
  ): Promise<Extract<Answer, { kind: Kind }>> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(take)
        reject(new Error(`unable to continue; ${this.#name} did not report "${kind}" within ${timeoutMs} ms`))
      }, timeoutMs)
      const take = (message: FromDriver): void => {
        if (message.kind !== kind || !fits(message as Extract<Answer, { kind: Kind }>)) return
        clearTimeout(timer)
        this.#waiting.delete(take)
        resolve(message as Extract<Answer, { kind: Kind }>)
      }
      this.#waiting.add(take)
    })
  }
}
