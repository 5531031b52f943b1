/**
 * One part as a process that can be ended, frozen and started again, always at the same place. Promises: when `end`
 * resolves the process is gone, and `exited` says how the last one ended, also when nobody asked it to.
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

/** What every part that is a process of its own can do. */
export interface Part {
  readonly pid: number
  /** What it wrote, over all its starts. */
  readonly logs: LogLines
  /** How it ended, once it has. */
  readonly exited: Promise<ExitStatus>
  /** SIGKILL; resolves when it is gone. */
  kill9(): Promise<void>
  /** SIGTERM; resolves when it is gone. */
  stop(): Promise<void>
  /** SIGSTOP: connections stay open and nothing is answered. */
  pause(): void
  /** SIGCONT */
  resume(): void
  /** Kills it and removes its folder. */
  remove(): Promise<void>
}

export class PartProcess {
  readonly logs = new LogLines()
  readonly #name: string
  #child: ChildProcess | undefined
  #exited: Promise<ExitStatus> | undefined

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

  /** Takes a process that was just spawned, and waits until it is ready. */
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

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const ending = this.#child
    if (ending === undefined) return
    ending.kill(signal)
    // A frozen process hears a signal only when it goes on.
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

/** Resolves when somebody listens on the port; fails with what the process wrote when it ends first. */
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

/** Tries again on another port when somebody took the first one between the look and the start. */
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
