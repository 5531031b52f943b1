/**
 * A real Postgres for tests: temporary folder, loopback, free port, fsync on, unprivileged user
 * (Postgres refuses root). A test can restart and kill it. Every test suite gets its own database,
 * so suites can run in parallel.
 */
import { execFileSync } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { appendFileSync, chmodSync, chownSync, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { findFreePort } from './free-port.ts'
import { LogLines } from './log-lines.ts'
import { endWithin } from './part-process.ts'
import type { ExitStatus } from './part-process.ts'
import { makeTempDir, removeTempDir, spawnTracked, whenExited } from './tracked.ts'

const startTimeoutMs = 30_000
const stopTimeoutMs = 15_000

export interface PostgresOptions {
  /** Additional postgresql.conf settings, such as `{ max_connections: 50 }`. */
  readonly settings?: Readonly<Record<string, string | number>>
}

/** A Postgres in which tests create databases: started by the testkit, or an existing one. */
export interface Databases {
  /** Superuser URL of the maintenance database. */
  readonly url: string
  /** Creates a database with a unique name, optionally from a template, and returns its URL. */
  createDatabase(template?: string): Promise<string>
  dropDatabase(url: string): Promise<void>
  /** Runs one statement as superuser. Default database: the maintenance database. */
  query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[], databaseUrl?: string): Promise<Row[]>
}

export interface Postgres extends Databases {
  readonly port: number
  readonly pid: number
  readonly dataDir: string
  readonly logs: LogLines
  /** Resolves to the exit status once Postgres has ended. */
  readonly exited: Promise<ExitStatus>
  /**
   * Sends SIGKILL to the postmaster (main process). Resolves when it and its backends (one process
   * per connection) have ended.
   */
  kill9(): Promise<void>
  /** Starts Postgres again after a stop or kill, with the same folder and port. */
  start(): Promise<void>
  /**
   * Stops Postgres. `fast` closes connections and writes a checkpoint; `immediate` simulates a
   * crash, so the next start needs recovery.
   */
  stop(mode?: 'fast' | 'immediate'): Promise<void>
  restart(mode?: 'fast' | 'immediate'): Promise<void>
  /** Stops Postgres and removes its folder. */
  remove(): Promise<void>
}

function findBin(): string | undefined {
  const versions = '/usr/lib/postgresql'
  const newest = existsSync(versions)
    ? readdirSync(versions)
        .filter((version) => existsSync(join(versions, version, 'bin/postgres')))
        .sort((a, b) => Number(b) - Number(a))[0]
    : undefined
  if (newest !== undefined) return join(versions, newest, 'bin')
  return process.env.PATH?.split(':').find((folder) => existsSync(join(folder, 'postgres')))
}

/**
 * Returns whether tests against Postgres can run on this machine: TEST_POSTGRES_URL is set, or
 * Postgres is installed.
 */
export function hasPostgres(): boolean {
  return Boolean(process.env.TEST_POSTGRES_URL) || findBin() !== undefined
}

/**
 * Returns the Postgres for this test run: the server at TEST_POSTGRES_URL if it is set, otherwise a
 * new Postgres that ends with this process.
 */
export async function usePostgres(): Promise<Databases> {
  const url = process.env.TEST_POSTGRES_URL
  return url ? attachPostgres(url) : startPostgres()
}

interface Identity {
  readonly uid: number
  readonly gid: number
}

function unprivilegedIdentity(): Identity | undefined {
  if (process.getuid?.() !== 0) return undefined
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const fields = lines.find((line) => line.startsWith(`${name}:`))?.split(':')
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) }
  }
  throw new Error('unable to start Postgres; running as root, and neither user postgres nor nobody exists')
}

let databaseCount = 0

/** Returns access to a Postgres that is already running. */
export function attachPostgres(url: string): Databases {
  const query = async <Row extends pg.QueryResultRow>(
    sql: string,
    values: unknown[] = [],
    databaseUrl = url,
  ): Promise<Row[]> => {
    const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5_000 })
    // Without a listener, an error event would end this process. The calls of the client below
    // reject with the same error.
    client.on('error', () => undefined)
    await client.connect()
    try {
      return (await client.query<Row>(sql, values)).rows
    } finally {
      await client.end().catch(() => undefined)
    }
  }
  return {
    url,
    query,
    async createDatabase(template) {
      databaseCount += 1
      const name = `chorus_${process.pid}_${databaseCount}_${Math.random().toString(36).slice(2, 8)}`
      await query(`create database "${name}"${template === undefined ? '' : ` template "${template}"`}`)
      const made = new URL(url)
      made.pathname = `/${name}`
      return made.href
    },
    async dropDatabase(made) {
      await query(`drop database if exists "${new URL(made).pathname.slice(1)}" with (force)`)
    },
  }
}

/** Starts a Postgres, which takes some hundred milliseconds, most of it for initdb. */
export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const bin = findBin()
  if (bin === undefined)
    throw new Error('unable to start Postgres; it is not installed (Debian: apt-get install postgresql)')
  const identity = unprivilegedIdentity()
  const folder = makeTempDir('postgres')
  const dataDir = join(folder, 'data')
  const port = await findFreePort()
  if (identity !== undefined) chownSync(folder, identity.uid, identity.gid)
  chmodSync(folder, 0o700)

  const asUser = {
    cwd: '/',
    ...identity,
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C.UTF-8', TZ: 'UTC' },
  }
  initialize(bin, dataDir, asUser)
  writeSettings(dataDir, { port, unix_socket_directories: folder, ...options.settings })

  const logs = new LogLines()
  let child: ChildProcess | undefined
  let exited: Promise<ExitStatus> | undefined

  const start = async (): Promise<void> => {
    const started = spawnTracked(join(bin, 'postgres'), ['-D', dataDir], {
      ...asUser,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child = started
    exited = whenExited(started)
    if (started.stdout) logs.follow(started.stdout)
    if (started.stderr) logs.follow(started.stderr)
    await logs.waitFor(/database system is ready to accept connections/, started, startTimeoutMs)
  }

  const end = async (signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<void> => {
    const ending = child
    if (ending === undefined) return
    child = undefined
    await endWithin(stopTimeoutMs, ending, signal, 'Postgres')
    if (signal === 'SIGKILL') await whenBackendsGone(dataDir)
  }

  const databases = attachPostgres(`postgres://postgres@127.0.0.1:${port}/postgres`)
  await start()
  return {
    ...databases,
    port,
    dataDir,
    logs,
    get pid() {
      if (child?.pid === undefined) throw new Error('unable to name the pid of Postgres; it is stopped')
      return child.pid
    },
    get exited() {
      return exited ?? Promise.reject(new Error('unable to wait for Postgres; it was never started'))
    },
    start,
    kill9: () => end('SIGKILL'),
    stop: (mode = 'fast') => end(mode === 'fast' ? 'SIGINT' : 'SIGQUIT'),
    async restart(mode = 'fast') {
      await end(mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
      await start()
    },
    async remove() {
      await end('SIGQUIT')
      removeTempDir(folder)
    },
  }
}

/** Options for a child process that runs as the unprivileged user. */
type AsUser = Pick<SpawnOptions, 'cwd' | 'uid' | 'gid' | 'env'>

/** Creates the data folder of a database cluster (initdb). */
function initialize(bin: string, dataDir: string, asUser: AsUser): void {
  execFileSync(
    join(bin, 'initdb'),
    [
      '-D',
      dataDir,
      '-U',
      'postgres',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C.UTF-8',
      '--no-sync',
      '--no-instructions',
    ],
    { ...asUser, stdio: ['ignore', 'pipe', 'pipe'] },
  )
}

/** Adds settings to postgresql.conf. They override the defaults of this function. */
function writeSettings(dataDir: string, settings: NonNullable<PostgresOptions['settings']>): void {
  const all: Record<string, string | number> = {
    listen_addresses: '127.0.0.1',
    // Put shared memory into the data folder: a killed Postgres would leave it behind in /dev/shm.
    dynamic_shared_memory_type: 'mmap',
    max_connections: 200,
    shared_buffers: '64MB',
    fsync: 'on',
    synchronous_commit: 'on',
    log_min_messages: 'warning',
    ...settings,
  }
  const conf = Object.entries(all).map(([name, value]) => `${name} = '${value}'`)
  appendFileSync(join(dataDir, 'postgresql.conf'), `\n${conf.join('\n')}\n`)
}

/**
 * Waits until all backends (one process per connection) have ended. They end by themselves after
 * their postmaster has died. Until then, their shared memory prevents a restart.
 */
async function whenBackendsGone(dataDir: string): Promise<void> {
  const startedAt = performance.now()
  while (performance.now() - startedAt < stopTimeoutMs) {
    if (!anyProcessIn(dataDir)) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`unable to end Postgres; backends still run in ${dataDir}`)
}

function anyProcessIn(dataDir: string): boolean {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      if (readlinkSync(`/proc/${entry}/cwd`) === dataDir) return true
    } catch {
      // The process ended between the listing and the check.
    }
  }
  return false
}
