/**
 * A Postgres server: a pool for reads and small writes, and one connection per lane of the log.
 *
 * Every connection runs under read committed with synchronous_commit on (rules ACK1, ORD1), and reads the identity of the
 * history it sees before it is used (rule RES2).
 */
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { StartError } from '../support/start-error.ts'
import { classifyDatabaseError, DatabaseError } from './database-errors.ts'
import type { Database, Lane, Statement } from './database.ts'
import { isConnectionFault, readEpoch, runRead, toQueryConfig, typeParsers, within } from './driver.ts'

const poolMax = 10
const laneCount = 2
const connectTimeoutMs = 1_500
const readTimeoutMs = 5_000
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
  readonly #pool: pg.Pool
  readonly #lanes: PostgresLane[]
  readonly #listeners: ((epoch: string) => void)[] = []
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
    this.#pool = new pg.Pool({
      ...this.#config,
      max: poolMax,
      idleTimeoutMillis: 60_000,
      // Runs before the connection is handed out; a query beside that of its first user would be out of order.
      verify: (client, done) => void this.#checkEpoch(client).then(() => done()),
    })
    this.#pool.on('error', () => {
      // An idle connection that breaks is replaced by the next query.
    })
    this.#lanes = Array.from(
      { length: laneCount },
      () => new PostgresLane(this.#config, (client) => this.#checkEpoch(client)),
    )
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
    return runRead(
      async () =>
        (await this.#pool.query({ ...toQueryConfig(statement), query_timeout: readTimeoutMs } as pg.QueryConfig))
          .rows as Row[],
      pause,
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

  async isHealthy(): Promise<boolean> {
    const answer = this.#pool.query('select pg_is_in_recovery() as replica').then(
      ({ rows }) => !(rows[0] as { replica: boolean }).replica,
      () => false,
    )
    return Promise.race([answer, pause(1_000, false, { ref: false })])
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool.end(), ...this.#lanes.map((lane) => lane.close())])
  }

  async #checkEpoch(client: pg.ClientBase): Promise<void> {
    if (!this.#watchesEpoch) return
    try {
      const epoch = await readEpoch({
        query: (config) => client.query({ ...config, query_timeout: connectTimeoutMs } as pg.QueryConfig),
      })
      if (this.#epoch === epoch) return
      this.#epoch = epoch
      for (const listener of this.#listeners) listener(epoch)
    } catch {
      // The connection broke before it could be asked; the next one is.
    }
  }
}

/** One connection, opened when it is needed and again when it broke. */
class PostgresLane implements Lane {
  readonly #config: pg.ClientConfig
  readonly #onConnect: (client: pg.Client) => Promise<void>
  #client: Promise<pg.Client> | undefined

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
    client.on('error', () => this.#drop(client))
    await client.connect()
    await this.#onConnect(client)
    return client
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
