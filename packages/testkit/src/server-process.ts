/**
 * Starts a server as a separate process, exactly as `npm start` runs it: built code, environment,
 * signals. It keeps its folder and port over restarts, so that clients find it again after a kill.
 */
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { KeyDatabase } from './api-key.ts'
import { LogLines } from './log-lines.ts'
import { endWithin } from './part-process.ts'
import type { ExitStatus } from './part-process.ts'
import { makeTempDir, removeTempDir, spawnTracked, whenExited } from './tracked.ts'

const startTimeoutMs = 30_000
const stopTimeoutMs = 20_000
const listening = /listening on (http:\/\/[^\s"]+)/

export interface ServerOptions {
  /** URL of a Postgres database. Default: the server embeds its database in `dataDir`. */
  readonly databaseUrl?: string
  /**
   * Data folder of the server, which `remove` keeps. Default: a temporary folder that `remove`
   * deletes.
   */
  readonly dataDir?: string
  /** Additional environment variables; they override the defaults of this file. */
  readonly env?: Readonly<Record<string, string>>
  /**
   * Returns the main file of the server, asked at every start. Default: the built server of this
   * repository.
   */
  readonly mainFile?: () => string
  /** Arguments for Node, such as `['--max-old-space-size=200']`. */
  readonly nodeArguments?: readonly string[]
}

export interface ServerProcess {
  readonly url: string
  readonly port: number
  readonly pid: number
  readonly dataDir: string
  /** Place of its database, for operator commands. */
  readonly database: KeyDatabase
  /** Lines that the server has written to stdout and stderr, over all starts. */
  readonly logs: LogLines
  /** Sends SIGKILL. Resolves when the process has ended. */
  kill9(): Promise<void>
  /** Sends SIGTERM (or another signal). Resolves to the exit status; rejects after 20 s. */
  stop(signal?: 'SIGTERM' | 'SIGINT'): Promise<ExitStatus>
  /** Starts the server again with the same folder and port; resolves when it listens. */
  start(): Promise<void>
  /** Kills the server and starts it again. */
  restart(): Promise<void>
  /** Sends SIGSTOP: the process stays alive but does nothing. */
  freeze(): void
  /** Sends SIGCONT, which ends `freeze`. */
  thaw(): void
  /**
   * Resolves to the exit status once the process has ended; tests of failing starts wait for it.
   */
  readonly exited: Promise<ExitStatus>
  /** Kills the server and removes its temporary folder. */
  remove(): Promise<void>
}

/**
 * Node options, the same as in `npm start`. A larger young generation of the heap makes garbage
 * collections cheap, because most objects of a message are already unused at the next collection.
 */
const serverNodeArguments = ['--max-semi-space-size=64']

const builtMain = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url))

/** Starts a server and waits until it listens. If it ends first, rejects with its output. */
export async function startServer(options: ServerOptions = {}): Promise<ServerProcess> {
  const mainFile = options.mainFile ?? (() => builtMain)
  const main = mainFile()
  if (!existsSync(main)) throw new Error(`unable to start a server; ${main} is not built (npx tsc -b packages/server)`)
  const ownDir = options.dataDir === undefined ? makeTempDir('server') : undefined
  const dataDir = options.dataDir ?? ownDir ?? ''
  const logs = new LogLines()
  let child: ChildProcess | undefined
  let exited: Promise<ExitStatus> | undefined
  let port = 0
  let url = ''

  const start = async (): Promise<void> => {
    const started = spawnServer(mainFile(), dataDir, port, options)
    child = started
    exited = whenExited(started)
    if (started.stdout) logs.follow(started.stdout)
    if (started.stderr) logs.follow(started.stderr)
    const match = await logs.waitFor(listening, started, startTimeoutMs)
    url = new URL(match[1] ?? '').origin
    port = Number(new URL(url).port)
  }

  const running = (): ChildProcess => {
    if (child === undefined) throw new Error('unable to reach the server; it is not running')
    return child
  }

  const kill9 = async (): Promise<void> => {
    if (child === undefined) return
    child.kill('SIGKILL')
    await whenExited(child)
    child = undefined
  }

  try {
    await start()
  } catch (error) {
    await kill9()
    if (ownDir !== undefined) removeTempDir(ownDir)
    throw error
  }

  return {
    get url() {
      return url
    },
    get port() {
      return port
    },
    get pid() {
      return running().pid ?? 0
    },
    dataDir,
    database: options.databaseUrl === undefined ? { dataDir } : { databaseUrl: options.databaseUrl },
    logs,
    kill9,
    async stop(signal = 'SIGTERM') {
      const stopping = running()
      try {
        return await endWithin(stopTimeoutMs, stopping, signal, 'the server')
      } finally {
        child = undefined
      }
    },
    start,
    async restart() {
      await kill9()
      await start()
    },
    freeze: () => void running().kill('SIGSTOP'),
    thaw: () => void running().kill('SIGCONT'),
    get exited() {
      return exited ?? Promise.reject(new Error('unable to wait for the server; it was never started'))
    },
    async remove() {
      await kill9()
      if (ownDir !== undefined) removeTempDir(ownDir)
    },
  }
}

/**
 * Starts the process of a server. With port 0, the server listens on the PORT of `options.env`, or
 * on a free port without it.
 */
function spawnServer(main: string, dataDir: string, port: number, options: ServerOptions): ChildProcess {
  return spawnTracked(process.execPath, [...serverNodeArguments, ...(options.nodeArguments ?? []), main], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Pass only the environment variables that Node needs. For instance, a DATABASE_URL of the
    // shell must not influence a test.
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NODE_ENV: 'test',
      HOST: '127.0.0.1',
      DATA_DIR: dataDir,
      ...(options.databaseUrl !== undefined && { DATABASE_URL: options.databaseUrl }),
      ...options.env,
      PORT: port === 0 ? (options.env?.PORT ?? '0') : String(port),
    },
  })
}
