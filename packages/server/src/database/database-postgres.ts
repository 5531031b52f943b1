/**
 * Connects to a Postgres server: three pools for reads and small writes, one connection for each
 * append queue of the log (a lane), and one for creating conversations.
 *
 * There are three pools, so that browsing and searching users cannot block the server's own work.
 * `vital` is for sessions, memberships, the sweep, probes and small writes; `browse` for pages and
 * lists; `search` for text search.
 *
 * Every connection gets the settings of session-settings.ts, among them read committed and
 * synchronous_commit (rules ACK1, ORD1). Before its first use it reads the database epoch, the
 * identity of the database's history (rule RES2). A connection that cannot do so, such as one to a
 * standby, is refused. When the epoch changes, all connections to the former history are closed and
 * replaced.
 */
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { StartError } from '../support/start-error.ts'
import { classifyDatabaseError, DatabaseError, readRetry } from './database-errors.ts'
import type { Database, Lane, Statement } from './database.ts'
import { isConnectionFault, readEpoch, runRead, toQueryConfig, typeParsers, within } from './driver.ts'
import { HealthProbe } from './health-probe.ts'
import { poolLimits, PostgresPool } from './postgres-pool.ts'
import { applySessionSettings, findSchema, refuseReadOnly, refuseSharedBackends } from './session-settings.ts'

/**
 * Maximum number of connections in each pool of one server. `max_connections` of Postgres must
 * allow for these plus the connections of the lanes.
 */
export const poolMax = { vital: 4, browse: 5, search: 2 } as const
const laneCount = 2
const connectTimeoutMs = 1_500
/**
 * statement_timeout of a lane's connection: slightly longer than the log waits for a statement, so
 * that statements it no longer waits for end soon.
 */
const laneStatementMs = 2_000
const oldestVersion = 150_000

type PoolName = keyof typeof poolMax

export interface PostgresOptions {
  readonly url: string
  /** Name of the connections in pg_stat_activity. */
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
  /** Pools of a former database epoch that are still closing. */
  readonly #retired = new Set<Promise<void>>()
  #pools: Readonly<Record<PoolName, PostgresPool>>
  #schema: string | undefined
  #epoch: string | undefined
  #watchesEpoch = false

  constructor({ url, applicationName }: PostgresOptions) {
    this.#config = {
      connectionString: url,
      application_name: applicationName,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      types: typeParsers,
    }
    this.#pools = this.#openPools()
    this.#lanes = Array.from(
      { length: laneCount + 1 },
      () => new PostgresLane(this.#config, (client) => this.#openLane(client)),
    )
  }

  #openPools(): Readonly<Record<PoolName, PostgresPool>> {
    const open = (max: number): PostgresPool =>
      new PostgresPool({ config: this.#config, max, onConnect: (client) => this.#verify(client) })
    return { vital: open(poolMax.vital), browse: open(poolMax.browse), search: open(poolMax.search) }
  }

  /** Refuses a database that the server cannot use at start-up, with a one-line error. */
  async check(): Promise<void> {
    const clients: pg.Client[] = []
    const open = async (): Promise<pg.Client> => {
      const client = new pg.Client(this.#config)
      clients.push(client)
      client.on('error', () => undefined)
      await client.connect()
      return client
    }
    try {
      const client = await open()
      // Check the version before the settings: an older Postgres may not have these settings.
      const { rows } = await client.query({
        text: `select current_setting('server_version_num')::int as version, pg_is_in_recovery() as replica,
                      current_setting('server_encoding') as encoding`,
        query_timeout: connectTimeoutMs,
      } as pg.QueryConfig)
      const { version, replica, encoding } = rows[0] as { version: number; replica: boolean; encoding: string }
      if (version < oldestVersion) {
        throw new StartError(
          `unable to use the database; it is Postgres ${Math.floor(version / 10_000)}, and DATABASE_URL must name 15 or later`,
        )
      }
      if (replica)
        throw new StartError(
          'unable to use the database; it is a read-only replica, and DATABASE_URL must name the primary',
        )
      if (encoding !== 'UTF8')
        throw new StartError(
          `unable to use the database; its encoding is ${encoding}, and DATABASE_URL must name a database in UTF8`,
        )
      await applySessionSettings(client, undefined)
      await refuseReadOnly(client)
      await refuseSharedBackends(client, open)
      const schema = await findSchema(client)
      await applySessionSettings(client, schema)
      this.#schema = schema
    } catch (error) {
      if (error instanceof StartError) throw error
      const reason = error instanceof Error ? error.message || (error as NodeJS.ErrnoException).code : String(error)
      throw new StartError(`unable to reach the database that DATABASE_URL names; ${reason}`, { cause: error })
    } finally {
      await Promise.all(clients.map((client) => client.end().catch(() => undefined)))
    }
  }

  lane(index: number): Lane {
    return this.#lanes[index % laneCount] as PostgresLane
  }

  laneApart(): Lane {
    return this.#lanes[laneCount] as PostgresLane
  }

  async query<Row>(statement: Statement): Promise<Row[]> {
    const totalMs = statement.timeoutMs ?? readRetry.totalMaxMs
    const pool = statement.pool ?? 'vital'
    return runRead((timeoutMs) => this.#pools[pool].run<Row>(statement, timeoutMs), pause, totalMs)
  }

  async script(text: string): Promise<void> {
    const client = new pg.Client(this.#config)
    client.on('error', () => undefined)
    try {
      await client.connect()
      await applySessionSettings(client, this.#schema)
      // Migrations have no time limit.
      await client.query('set statement_timeout = 0')
      await client.query(text)
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  async epoch(): Promise<string> {
    this.#watchesEpoch = true
    this.#epoch ??= await readEpoch({
      query: async (config) => ({
        rows: await this.#pools.vital.run(
          { text: typeof config.text === 'string' ? config.text : '' },
          connectTimeoutMs,
        ),
      }),
    })
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
      await this.#verify(client)
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  isHealthy(): Promise<boolean> {
    return this.#probe.isHealthy()
  }

  async close(): Promise<void> {
    await Promise.all([...this.#endPools(this.#pools), ...this.#retired, ...this.#lanes.map((lane) => lane.close())])
  }

  #endPools(pools: Readonly<Record<PoolName, PostgresPool>>): Promise<void>[] {
    return Object.values(pools).map((pool) => pool.end())
  }

  async #askHealth(): Promise<boolean> {
    const [row] = await this.#pools.vital.run<{ replica: boolean }>(
      { text: 'select pg_is_in_recovery() as replica' },
      // Wait until the probe has released its connection: a second probe must not take another
      // connection.
      poolLimits.statementMs + poolLimits.answerGraceMs,
    )
    return row?.replica === false
  }

  async #openLane(client: pg.Client): Promise<void> {
    await this.#verify(client)
    await client.query({
      text: `set statement_timeout = ${laneStatementMs}`,
      query_timeout: connectTimeoutMs,
    } as pg.QueryConfig)
  }

  /** Checks and prepares a new connection. Rejects when the connection must not be used. */
  async #verify(client: pg.ClientBase): Promise<void> {
    try {
      await applySessionSettings(client, this.#schema)
    } catch (error) {
      // No statement was sent yet over this connection, so the caller's statement was certainly not
      // executed.
      throw new DatabaseError('refused', error)
    }
    await this.#checkEpoch(client)
  }

  async #checkEpoch(client: pg.ClientBase): Promise<void> {
    if (!this.#watchesEpoch) return
    let epoch: string
    try {
      epoch = await readEpoch({
        query: (config) => client.query({ ...config, query_timeout: connectTimeoutMs } as pg.QueryConfig),
      })
    } catch (error) {
      // No statement was sent yet over this connection, so the caller's statement was certainly not
      // executed.
      throw new DatabaseError('refused', error)
    }
    if (this.#epoch === epoch) return
    const isFirst = this.#epoch === undefined
    this.#epoch = epoch
    if (isFirst) return
    this.#retire(client)
    for (const listener of this.#listeners) listener(epoch)
  }

  /**
   * Replaces all connections except `except`. Connections to the former database history would mix
   * it with the new one.
   */
  #retire(except: pg.ClientBase): void {
    const ending = this.#pools
    this.#pools = this.#openPools()
    for (const ends of this.#endPools(ending)) {
      const ended = ends.finally(() => this.#retired.delete(ended))
      this.#retired.add(ended)
    }
    for (const lane of this.#lanes) lane.retire(except)
  }
}

/**
 * Connection of one lane (append queue of the log). It opens on first use, and again after it
 * broke.
 */
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
      // Close the connection if it opens too late: the caller no longer waits for it.
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
      // After a timeout the old statement may still be running on this connection, so never use it
      // again.
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

  /**
   * Closes the connection unless it is `except`. A running statement then ends with the error kind
   * `lost`, and its caller looks up whether it was executed.
   */
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
