/**
 * Pool with a limited number of connections to Postgres for one kind of work.
 *
 * A connection stays reserved for its statement until Postgres has answered, even if the caller no
 * longer waits. So a slow statement never makes room for a second copy of itself, and at most `max`
 * backends exist. Postgres ends slow statements (`statement_timeout`). If even the response to that
 * does not arrive, the connection counts as hung and is closed. Only then can another statement use
 * its place in the pool.
 */
import pg from 'pg'
import { classifyDatabaseError, DatabaseError } from './database-errors.ts'
import type { Statement } from './database.ts'
import { isConnectionFault, toQueryConfig, within } from './driver.ts'

export const poolLimits = {
  /**
   * statement_timeout in milliseconds: Postgres ends slower statements, unless the statement sets a
   * longer time. It is ample: a read that takes even a second is a bug.
   */
  statementMs: 2_500,
  /** Extra time for the response of Postgres to arrive after statement_timeout. */
  answerGraceMs: 250,
  /** Maximum number of statements waiting for a connection. */
  waitingMax: 2_000,
} as const

export interface PostgresPoolOptions {
  readonly config: pg.ClientConfig
  readonly max: number
  /** Checks a new connection before its first use. If it rejects, the connection is closed. */
  readonly onConnect: (client: pg.ClientBase) => Promise<void>
}

export class PostgresPool {
  readonly #pool: pg.Pool
  /** Current statement_timeout of each connection. */
  readonly #statementMs = new WeakMap<pg.ClientBase, number>()

  constructor({ config, max, onConnect }: PostgresPoolOptions) {
    this.#pool = new pg.Pool({
      ...config,
      max,
      idleTimeoutMillis: 60_000,
      // Runs before the pool passes the connection on, so that its queries come before those of the
      // first caller.
      verify: (client, done) => void onConnect(client).then(() => done(), done),
    })
    this.#pool.on('error', () => {
      // Ignore the error of an idle connection that broke: the next statement replaces the
      // connection.
    })
    // While a new connection is checked, nothing else listens for its errors, and an error without
    // a listener ends the process.
    this.#pool.on('connect', (client) => client.on('error', () => undefined))
  }

  /** Runs one statement. Rejects with a `DatabaseError` within `timeoutMs`, or sooner. */
  async run<Row>(statement: Statement, timeoutMs: number): Promise<Row[]> {
    if (this.#pool.waitingCount >= poolLimits.waitingMax)
      throw new DatabaseError('refused', new Error('too many statements are waiting for a connection'))
    const endsAtMs = performance.now() + timeoutMs
    const opening = this.#pool.connect()
    let client: pg.PoolClient
    try {
      client = await within(opening, timeoutMs)
    } catch (error) {
      opening.then(
        (late) => late.release(),
        () => undefined,
      )
      // No connection was available, so the statement was not sent.
      throw error instanceof DatabaseError ? error : new DatabaseError('refused', error)
    }
    return within(this.#runOn<Row>(client, statement), endsAtMs - performance.now(), 'no answer').catch(
      (error: unknown) => {
        throw classifyDatabaseError(error, true)
      },
    )
  }

  async end(): Promise<void> {
    await this.#pool.end()
  }

  async #runOn<Row>(client: pg.PoolClient, statement: Statement): Promise<Row[]> {
    // If the connection breaks, its statement rejects with the error. The connection also emits the
    // error as an event, which would end the process without this listener.
    const ignore = (): void => undefined
    client.on('error', ignore)
    let fault: DatabaseError | undefined
    try {
      const statementMs = Math.max(poolLimits.statementMs, statement.timeoutMs ?? 0)
      if (this.#statementMs.get(client) !== statementMs) {
        await client.query({
          text: `set statement_timeout = ${statementMs}`,
          query_timeout: poolLimits.statementMs,
        } as pg.QueryConfig)
        this.#statementMs.set(client, statementMs)
      }
      const { rows } = await client.query({
        ...toQueryConfig(statement),
        query_timeout: statementMs + poolLimits.answerGraceMs,
      } as pg.QueryConfig)
      return rows as Row[]
    } catch (error) {
      const classified = classifyDatabaseError(error, true)
      if (isConnectionFault(classified) && !isAnswer(classified)) fault = classified
      throw classified
    } finally {
      client.off('error', ignore)
      client.release(fault)
    }
  }
}

/**
 * Returns whether the database itself cancelled or refused the statement. Then the connection can
 * still be used.
 */
function isAnswer(error: DatabaseError): boolean {
  return error.sqlState === '57014' || error.sqlState?.startsWith('53') === true
}
