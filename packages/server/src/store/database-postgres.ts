/**
 * A Postgres server: a pool for reads and small writes, and one connection per lane of the log.
 *
 * Every connection runs under read committed with synchronous_commit on (rules ACK1, ORD1), and reads the identity of the
 * history it sees before it is used (rule RES2); one that cannot, such as that of a standby, is refused. When the history
 * changes, no connection to the one before is used any more.
 */
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { StartError } from '../support/start-error.ts'
import { classifyDatabaseError, DatabaseError, readRetry } from './database-errors.ts'
import type { Database, Lane, Statement } from './database.ts'
import { isConnectionFault, readEpoch, runRead, toQueryConfig, typeParsers, within } from './driver.ts'
import { HealthProbe } from './health-probe.ts'

const poolMax = 10
const laneCount = 2
const connectTimeoutMs = 1_500
const probeTimeoutMs = 1_000
/** The part of a read's time that one attempt may take. */
const attemptShare = 0.6
const oldestVersion = 150_000

const sessionOptions = [
  '-c default_transaction_isolation=read\\ committed',
  '-c synchronous_commit=on',
  '-c lock_timeout=1500',
  '-c idle_in_transaction_session_timeout=10000',
  '-c timezone=UTC',
].join(' ')

export interface PostgresOptions {
  readonly url: string
  /** Shown in pg_stat_activity. */
  readonly applicationName: string
}

export async function openPostgresDatabase(options: PostgresOptions): Promise<Database> {
  const database = new PostgresDatabase(options)
  try {
    await database.check()
    return database
  } catch (error) {
    await database.close()
    throw error
  }
}

class PostgresDatabase implements Database {
  readonly engine = 'postgres'
  readonly laneCount = laneCount
  readonly #config: pg.ClientConfig
  readonly #lanes: PostgresLane[]
  readonly #listeners: ((epoch: string) => void)[] = []
  readonly #probe = new HealthProbe(() => this.#askHealth())
  /** Pools of an earlier history that still end. */
  readonly #retired = new Set<Promise<void>>()
  #pool: pg.Pool
  #epoch: string | undefined
  #watchesEpoch = false

  constructor({ url, applicationName }: PostgresOptions) {
    this.#config = {
      connectionString: url,
      application_name: applicationName,
      options: sessionOptions,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      types: typeParsers,
    }
    this.#pool = this.#openPool()
    this.#lanes = Array.from(
      { length: laneCount },
      () => new PostgresLane(this.#config, (client) => this.#checkEpoch(client)),
    )
  }

  #openPool(): pg.Pool {
    const pool = new pg.Pool({
      ...this.#config,
      max: poolMax,
      idleTimeoutMillis: 60_000,
      // Runs before the connection is handed out; a query beside that of its first user would be out of order.
      verify: (client, done) => void this.#checkEpoch(client).then(() => done(), done),
    })
    pool.on('error', () => {
      // An idle connection that breaks is replaced by the next query.
    })
    // While a connection is being verified nobody else listens, and an error without a listener ends the process.
    pool.on('connect', (client) => client.on('error', () => undefined))
    return pool
  }

  /** Refuses what cannot work, in one clear line. */
  async check(): Promise<void> {
    try {
      const { rows } = await this.#pool.query(
        'select current_setting($1)::int as version, pg_is_in_recovery() as replica',
        ['server_version_num'],
      )
      const { version, replica } = rows[0] as { version: number; replica: boolean }
      if (version < oldestVersion) {
        throw new StartError(
          `unable to use the database; it is Postgres ${Math.floor(version / 10_000)}, and DATABASE_URL must name 15 or later`,
        )
      }
      if (replica)
        throw new StartError(
          'unable to use the database; it is a read-only replica, and DATABASE_URL must name the primary',
        )
    } catch (error) {
      if (error instanceof StartError) throw error
      const reason = error instanceof Error ? error.message || (error as NodeJS.ErrnoException).code : String(error)
      throw new StartError(`unable to reach the database that DATABASE_URL names; ${reason}`, { cause: error })
    }
  }

  lane(index: number): Lane {
    return this.#lanes[index % laneCount] as PostgresLane
  }

  async query<Row>(statement: Statement): Promise<Row[]> {
    const totalMs = statement.timeoutMs ?? readRetry.totalMaxMs
    return runRead(
      async (timeoutMs) =>
        (await this.#pool.query({ ...toQueryConfig(statement), query_timeout: timeoutMs } as pg.QueryConfig))
          .rows as Row[],
      pause,
      { totalMs, attemptMs: totalMs * attemptShare },
    )
  }

  async script(text: string): Promise<void> {
    await this.#pool.query(text)
  }

  async epoch(): Promise<string> {
    this.#watchesEpoch = true
    this.#epoch ??= await readEpoch(this.#pool)
    return this.#epoch
  }

  onEpochChange(listener: (epoch: string) => void): void {
    this.#listeners.push(listener)
  }

  async recheckEpoch(): Promise<void> {
    const client = new pg.Client(this.#config)
    client.on('error', () => undefined)
    try {
      await client.connect()
      await this.#checkEpoch(client)
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  isHealthy(): Promise<boolean> {
    return this.#probe.isHealthy()
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.end(), ...this.#retired, ...this.#lanes.map((lane) => lane.close())])
  }

  async #askHealth(): Promise<boolean> {
    const { rows } = await this.#pool.query({
      text: 'select pg_is_in_recovery() as replica',
      query_timeout: probeTimeoutMs,
    } as pg.QueryConfig)
    return !(rows[0] as { replica: boolean }).replica
  }

  /** Rejects when the connection must not be used. */
  async #checkEpoch(client: pg.ClientBase): Promise<void> {
    if (!this.#watchesEpoch) return
    let epoch: string
    try {
      epoch = await readEpoch({
        query: (config) => client.query({ ...config, query_timeout: connectTimeoutMs } as pg.QueryConfig),
      })
    } catch (error) {
      // Nothing was asked over it yet, so nothing can have been done.
      throw new DatabaseError('refused', error)
    }
    if (this.#epoch === epoch) return
    const isFirst = this.#epoch === undefined
    this.#epoch = epoch
    if (isFirst) return
    this.#retire(client)
    for (const listener of this.#listeners) listener(epoch)
  }

  /** Whoever is connected to the history before would mix it with this one. */
  #retire(except: pg.ClientBase): void {
    const ending = this.#pool
    this.#pool = this.#openPool()
    const ended = ending.end().finally(() => this.#retired.delete(ended))
    this.#retired.add(ended)
    for (const lane of this.#lanes) lane.retire(except)
  }
}

/** One connection, opened when it is needed and again when it broke. */
class PostgresLane implements Lane {
  readonly #config: pg.ClientConfig
  readonly #onConnect: (client: pg.Client) => Promise<void>
  #client: Promise<pg.Client> | undefined
  #newest: pg.Client | undefined

  constructor(config: pg.ClientConfig, onConnect: (client: pg.Client) => Promise<void>) {
    this.#config = config
    this.#onConnect = onConnect
  }

  async run<Row>(statement: Statement, timeoutMs: number): Promise<Row[]> {
    const endsAtMs = performance.now() + timeoutMs
    const opening = (this.#client ??= this.#open())
    let client: pg.Client
    try {
      client = await within(opening, timeoutMs)
    } catch (error) {
      if (this.#client === opening) this.#client = undefined
      // One that comes late is not needed any more.
      opening.then(
        (late) => void late.end().catch(() => undefined),
        () => undefined,
      )
      throw new DatabaseError('refused', error)
    }
    try {
      const { rows } = await client.query({
        ...toQueryConfig(statement),
        query_timeout: Math.max(1, endsAtMs - performance.now()),
      } as pg.QueryConfig)
      return rows as Row[]
    } catch (error) {
      const classified = classifyDatabaseError(error, true)
      // After a timeout the old statement may still be running on that connection: it is never used again.
      if (isConnectionFault(classified)) this.#drop(client)
      throw classified
    }
  }

  async close(): Promise<void> {
    const client = await this.#client?.catch(() => undefined)
    this.#client = undefined
    await client?.end().catch(() => undefined)
  }

  async #open(): Promise<pg.Client> {
    const client = new pg.Client(this.#config)
    this.#newest = client
    client.on('error', () => this.#drop(client))
    try {
      await client.connect()
      await this.#onConnect(client)
      return client
    } catch (error) {
      void client.end().catch(() => undefined)
      throw error
    }
  }

  /** Uses its connection no more, unless it is this one. A statement under way ends as `lost`: what became of it is looked up. */
  retire(except: pg.ClientBase): void {
    if (this.#newest === except) return
    const retired = this.#client
    this.#client = undefined
    retired?.then(
      (client) => void client.end().catch(() => undefined),
      () => undefined,
    )
  }

  #drop(client: pg.Client): void {
    const current = this.#client
    if (current !== undefined) {
      void current.then(
        (held) => {
          if (held === client && this.#client === current) this.#client = undefined
        },
        () => undefined,
      )
    }
    this.#client = undefined
    void client.end().catch(() => undefined)
  }
}
