/**
 * Common interface to the database, for a separate Postgres server and for the embedded engine:
 * same driver, same SQL, same types.
 *
 * Guarantees: a statement is one round trip in autocommit under read committed. bigint arrives as
 * number, timestamptz as ISO 8601 UTC, xid8 as string. Errors arrive classified
 * (database-errors.ts), so retries are decided in one place. There are no interactive transactions:
 * an atomic operation is one SQL function.
 */
import type { Socket } from 'node:net'

export interface Statement {
  /**
   * Name of the prepared statement, prepared once per connection. Leave it out for rare statements.
   */
  readonly name?: string
  readonly text: string
  readonly values?: readonly unknown[]
  /** Time limit of `query`, retries included. Default: the engine's own limit. */
  readonly timeoutMs?: number
  /**
   * Pool of connections for this statement. Default: `vital`, for small writes and for reads that
   * the server itself needs. `browse` is for pages and lists requested by users, `search` for text
   * search. The embedded engine has one connection for all of them.
   */
  readonly pool?: 'vital' | 'browse' | 'search'
}

/**
 * Connection of one append queue of the log. Each queue has its own, so that a busy conversation
 * cannot block conversations in other queues.
 */
export interface Lane {
  /**
   * Runs one statement that writes. Never retries: only the caller knows whether a retry is safe.
   * Rejects within `timeoutMs` with a `DatabaseError`, whose `kind` shows whether the statement may
   * have been executed.
   */
  run<Row>(statement: Statement, timeoutMs: number): Promise<Row[]>
}

export interface Database {
  readonly engine: 'embedded' | 'postgres'
  /** Number of append queues (lanes) that the log should use, each with its own connection. */
  readonly laneCount: number
  lane(index: number): Lane
  /**
   * Returns the connection for creating conversations. It is separate, so that messages never wait
   * behind the creation of a conversation (except in the embedded engine).
   */
  laneApart(): Lane
  /** Runs one statement. Retries it after a temporary fault, within limits (database-errors.ts). */
  query<Row>(statement: Statement): Promise<Row[]>
  /** Runs a script of several statements in one transaction, for migrations. */
  script(text: string): Promise<void>
  /**
   * Returns the database epoch, the identity of this database's history: stored id, system
   * identifier and timeline. It is read again on each new connection.
   */
  epoch(): Promise<string>
  /**
   * Registers a listener for a changed database epoch. It is called when a new connection finds a
   * restored backup or a failover.
   */
  onEpochChange(listener: (epoch: string) => void): void
  /**
   * Reads the database epoch over a new connection, and notifies the listeners if it has changed.
   */
  recheckEpoch(): Promise<void>
  /** Returns whether the database answers right now. Resolves within a second. */
  isHealthy(): Promise<boolean>
  /**
   * Passes connections on the socket of the data directory to the handler. Only the embedded engine
   * has this socket, because no other process can open its data while it runs.
   */
  serveLocal?(handler: (socket: Socket) => void): void
  close(): Promise<void>
}
