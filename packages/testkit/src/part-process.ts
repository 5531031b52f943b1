/**
 * Runs one part of a cluster (such as a server or Redis) as a process that can be ended, frozen and
 * started again on the same port and folder. Guarantees: when `end` resolves, the process has
 * ended, and `exited` reports how the last process ended, even if it ended unexpectedly.
 */
import type { ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import { LogLines } from './log-lines.ts'
import { whenExited } from './tracked.ts'
import { waitForFact } from './wait-for-fact.ts'

const stopTimeoutMs = 10_000

export interface ExitStatus {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Operations of every part that runs as its own process. */
export interface Part {
  readonly pid: number
  /** Output lines of the process, over all its starts. */
  readonly logs: LogLines
  /** Resolves to the exit status once the process has ended. */
  readonly exited: Promise<ExitStatus>
  /** Sends SIGKILL. Resolves when the process has ended. */
  kill9(): Promise<void>
  /** Sends SIGTERM. Resolves when the process has ended. */
  stop(): Promise<void>
  /** Sends SIGSTOP: connections stay open, but the process sends no responses. */
  pause(): void
  /** Sends SIGCONT, which ends `pause`. */
  resume(): void
  /** Kills the process and removes its folder. */
  remove(): Promise<void>
}

export class PartProcess {
  readonly logs = new LogLines()
  readonly #name: string
  #child: ChildProcess | undefined
  #exited: Promise<ExitStatus> | undefined
  readonly #predecessors = new Set<ChildProcess>()

  constructor(name: string) {
    this.#name = name
  }

  get pid(): number {
    return this.#running.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child !== undefined
  }

  get exited(): Promise<ExitStatus> {
    return this.#exited ?? Promise.reject(new Error(`unable to wait for ${this.#name}; it was never started`))
  }

  /** Spawns a process and waits until it is ready. */
  async begin(spawn: () => ChildProcess, whenReady: (child: ChildProcess) => Promise<unknown>): Promise<void> {
    if (this.#child !== undefined) throw new Error(`unable to start ${this.#name}; it is running`)
    const started = spawn()
    this.#child = started
    this.#exited = whenExited(started)
    void this.#exited.then(() => {
      if (this.#child === started) this.#child = undefined
    })
    if (started.stdout) this.logs.follow(started.stdout)
    if (started.stderr) this.logs.follow(started.stderr)
    await whenReady(started)
  }

  /**
   * Starts a new process in place of the running one. The old process ends by itself when its last
   * connection has closed; `end` kills it if it still runs.
   */
  async replace(spawn: () => ChildProcess, whenReady: () => Promise<unknown>): Promise<void> {
    const predecessor = this.#running
    this.#predecessors.add(predecessor)
    void whenExited(predecessor).then(() => this.#predecessors.delete(predecessor))
    this.#child = undefined
    await this.begin(spawn, whenReady)
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    for (const predecessor of this.#predecessors) predecessor.kill('SIGKILL')
    const ending = this.#child
    if (ending === undefined) return
    ending.kill(signal)
    // A frozen process handles SIGTERM only after SIGCONT.
    if (signal === 'SIGTERM') ending.kill('SIGCONT')
    const timer = setTimeout(() => ending.kill('SIGKILL'), stopTimeoutMs)
    await whenExited(ending)
    clearTimeout(timer)
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#running.kill(signal)
  }

  get #running(): ChildProcess {
    if (this.#child === undefined) throw new Error(`unable to reach ${this.#name}; it is not running`)
    return this.#child
  }
}

/**
 * Sends a signal and resolves to the exit status. If the process does not end in time, sends
 * SIGKILL and rejects.
 */
export async function endWithin(
  timeoutMs: number,
  child: ChildProcess,
  signal: NodeJS.Signals,
  name: string,
): Promise<ExitStatus> {
  child.kill(signal)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`unable to stop ${name}; it did not end within ${timeoutMs} ms of ${signal}`))
    }, timeoutMs)
  })
  try {
    return await Promise.race([whenExited(child), late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Resolves when the process listens on the port. If the process ends first, rejects with its
 * output.
 */
export async function whenListening(port: number, child: ChildProcess, logs: LogLines, timeoutMs: number) {
  let end: ExitStatus | undefined
  void whenExited(child).then((status) => (end = status))
  await waitForFact(() => end !== undefined || isListening(port), { what: `port ${port}`, timeoutMs })
  if (end === undefined) return
  const lines = logs.lines.slice(-40).join('\n')
  throw new Error(`unable to start ${child.spawnfile}; it ended with ${end.code ?? end.signal}:\n${lines}`)
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1')
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => resolve(false))
  })
}

/**
 * Starts a part on a free port. Retries with another port when another process took the port before
 * the start.
 */
export async function withFreePort<T>(
  port: number | undefined,
  findPort: () => Promise<number>,
  start: (port: number) => Promise<T>,
): Promise<T> {
  for (let attemptsLeft = 4; ; attemptsLeft -= 1) {
    try {
      return await start(port ?? (await findPort()))
    } catch (error) {
      const isTaken =
        error instanceof Error && /Address already in use|EADDRINUSE|cannot bind|bind\(\)|bind: /i.test(error.message)
      if (port !== undefined || attemptsLeft === 0 || !isTaken) throw error
    }
  }
}
