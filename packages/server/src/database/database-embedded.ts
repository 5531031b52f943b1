/**
 * Runs Postgres inside this process: PGlite in a worker thread behind the ordinary driver. A lock
 * makes sure that only one process uses its directory.
 *
 * Data survives a crash of the process, but not a power loss: the engine makes no fsync. The engine
 * has one backend, so the log and all queries share one connection.
 */
import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import pg from 'pg'
import { StartError } from '../support/start-error.ts'
import { classifyDatabaseError, DatabaseError } from './database-errors.ts'
import type { Database, Lane, Statement } from './database.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'
import { isConnectionFault, readEpoch, runRead, toQueryConfig, typeParsers, within } from './driver.ts'
import { HealthProbe } from './health-probe.ts'
import { PgliteStream } from './pglite-stream.ts'
import type { EngineOptions, FromEngine } from './pglite-worker.ts'

const readTimeoutMs = 10_000
const closeTimeoutMs = 10_000

export async function openEmbeddedDatabase(directory: string): Promise<Database> {
  const lock = await lockDirectory(directory)
  try {
    const worker = await startEngine(join(directory, 'postgres'))
    return new EmbeddedDatabase(worker, lock)
  } catch (error) {
    lock.release()
    throw error
  }
}

/**
 * Returns the built file of the worker, even if the server runs from source (as in tests): Node
 * cannot load TypeScript into a worker.
 */
function workerUrl(): URL {
  const beside = new URL('./pglite-worker.js', import.meta.url)
  return existsSync(beside) ? beside : new URL('../../dist/database/pglite-worker.js', import.meta.url)
}

async function startEngine(directory: string): Promise<Worker> {
  const worker = new Worker(workerUrl(), { workerData: { directory } satisfies EngineOptions })
  await new Promise<void>((resolve, reject) => {
    const fail = (reason: string): void => {
      void worker.terminate()
      reject(
        new StartError(
          `unable to open the embedded database in ${directory}; ${reason}: restore a backup or set another DATA_DIR`,
        ),
      )
    }
    worker.once('error', (error) => fail(firstLine(error)))
    worker.once('exit', () => fail('the engine stopped while it was opening'))
    worker.on('message', (message: FromEngine) => {
      if (message.kind === 'open') resolve()
      if (message.kind === 'failed') fail(`its files cannot be read (${firstLine(message.message)})`)
    })
  })
  return worker
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}

class EmbeddedDatabase implements Database {
  readonly engine = 'embedded'
  readonly laneCount = 1
  readonly #worker: Worker
  readonly #pool: pg.Pool
  readonly #lock: DirectoryLock
  readonly #probe = new HealthProbe(async () => {
    await this.#pool.query({ text: 'select 1', query_timeout: readTimeoutMs } as pg.QueryConfig)
    return true
  })

  constructor(worker: Worker, lock: DirectoryLock) {
    this.#worker = worker
    this.#lock = lock
    worker.setMaxListeners(100)
    this.#pool = new pg.Pool({
      max: 1,
      user: 'postgres',
      database: 'postgres',
      idleTimeoutMillis: 0,
      connectionTimeoutMillis: readTimeoutMs,
      types: typeParsers,
      stream: () => new PgliteStream(worker),
    })
    this.#pool.on('error', () => {
      // Ignore the error of an idle connection that broke: the next query replaces the connection.
    })
  }

  lane(): Lane {
    return {
      run: async <Row>(statement: Statement, timeoutMs: number): Promise<Row[]> => {
        const endsAtMs = performance.now() + timeoutMs
        const acquiring = this.#pool.connect()
        let client: pg.PoolClient
        try {
          // Wait with a time limit: another statement may keep the only connection longer than this
          // statement may wait.
          client = await within(acquiring, timeoutMs)
        } catch (error) {
          acquiring.then(
            (late) => late.release(),
            () => undefined,
          )
          throw new DatabaseError('refused', error)
        }
        try {
          const { rows } = await client.query({
            ...toQueryConfig(statement),
            query_timeout: Math.max(1, endsAtMs - performance.now()),
          } as pg.QueryConfig)
          client.release()
          return rows as Row[]
        } catch (error) {
          const classified = classifyDatabaseError(error, true)
          client.release(isConnectionFault(classified) ? classified : undefined)
          throw classified
        }
      },
    }
  }

  /** Returns the same connection as for messages, because only one exists. */
  laneApart(): Lane {
    return this.lane()
  }

  async query<Row>(statement: Statement): Promise<Row[]> {
    const totalMs = statement.timeoutMs ?? readTimeoutMs
    return runRead(
      async (timeoutMs) => {
        // Aborting a statement closes the only connection. So the driver aborts only a statement
        // that hangs, while the caller may stop waiting earlier.
        const asking = this.#pool.query({ ...toQueryConfig(statement), query_timeout: readTimeoutMs } as pg.QueryConfig)
        return (await within(asking, timeoutMs, 'no answer')).rows as Row[]
      },
      pause,
      totalMs,
    )
  }

  async script(text: string): Promise<void> {
    await this.#pool.query(text)
  }

  async epoch(): Promise<string> {
    return readEpoch(this.#pool)
  }

  onEpochChange(): void {
    // The epoch never changes, because no other process can use the directory while this one runs.
  }

  async recheckEpoch(): Promise<void> {
    // Nothing to check: the epoch never changes, because no other process can use the directory.
  }

  isHealthy(): Promise<boolean> {
    return this.#probe.isHealthy()
  }

  serveLocal(handler: (socket: Socket) => void): void {
    this.#lock.serve(handler)
  }

  async close(): Promise<void> {
    await this.#pool.end()
    const closed = new Promise<void>((resolve) => {
      this.#worker.on('message', (message: FromEngine) => {
        if (message.kind === 'closed') resolve()
      })
    })
    this.#worker.postMessage({ kind: 'close' })
    await Promise.race([closed, pause(closeTimeoutMs, undefined, { ref: false })])
    await this.#worker.terminate()
    this.#lock.release()
  }
}
