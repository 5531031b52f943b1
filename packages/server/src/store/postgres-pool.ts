/**
 * A bounded number of connections to Postgres for one kind of work.
 *
 * A connection belongs to its statement until Postgres has answered, also when the caller has given up: a slow statement
 * never makes room for a second copy of itself, and the number of backends stays at `max`. Postgres ends what takes too long
 * (`statement_timeout`). Where even that answer does not come, the connection hangs: it is
 * closed, and only then may the caller try another.
 */
import pg from 'pg'
import { classifyDatabaseError, DatabaseError } from './database-errors.ts'
import type { Statement } from './database.ts'
import { isConnectionFault, toQueryConfig, within } from './driver.ts'

export const poolBounds = {
  /** Postgres ends what takes longer, unless the statement says that it may. A read that takes a second is broken. */
  statementMs: 2_500,
  /** How much later than that the answer may arrive. */
  answerGraceMs: 250,
  /** Statements of a pool that wait for a connection. */
  waitingMax: 2_000,
} as const

export interface PostgresPoolOptions {
  readonly config: pg.ClientConfig
  readonly max: number
  /** Runs before a new connection is handed out; a rejection closes it. */
  readonly onConnect: (client: pg.ClientBase) => Promise<void>
}

export class PostgresPool {
  readonly #pool: pg.Pool
  /** What statement_timeout is on each connection. */
  readonly #statementMs = new WeakMap<pg.ClientBase, number>()

  constructor({ config, max, onConnect }: PostgresPoolOptions) {
    this.#pool = new pg.Pool({
      ...config,
      max,
      idleTimeoutMillis: 60_000,
      // Runs before the connection is handed out; a query beside that of its first user would be out of order.
      verify: (client, done) => void onConnect(client).then(() => done(), done),
    })
    this.#pool.on('error', () => {
      // An idle connection that breaks is replaced by the next statement.
    })
    // While a connection is being verified nothing else listens, and an error without a listener ends the process.
    this.#pool.on('connect', (client) => client.on('error', () => undefined))
  }

  /** Runs one statement. Rejects with a `DatabaseError` within `timeoutMs`, or sooner. */
  async run<Row>(statement: Statement, timeoutMs: number): Promise<Row[]> {
    if (this.#pool.waitingCount >= poolBounds.waitingMax)
      throw new DatabaseError('refused', new Error('too many statements wait for a connection'))
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
      // Nothing was sent.
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
    // A broken connection is an error of its statement; without a listener it would be one of the process.
    const ignore = (): void => undefined
    client.on('error', ignore)
    let fault: DatabaseError | undefined
    try {
      const statementMs = Math.max(poolBounds.statementMs, statement.timeoutMs ?? 0)
      if (this.#statementMs.get(client) !== statementMs) {
        await client.query({
          text: `set statement_timeout = ${statementMs}`,
          query_timeout: poolBounds.statementMs,
        } as pg.QueryConfig)
        this.#statementMs.set(client, statementMs)
      }
      const { rows } = await client.query({
        ...toQueryConfig(statement),
        query_timeout: statementMs + poolBounds.answerGraceMs,
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

/** The database itself says that it cancelled the statement: the connection is as good as before. */
function isAnswer(error: DatabaseError): boolean {
  return error.sqlState === '57014' || error.sqlState?.startsWith('53') === true
}
