/**
 * Common interface to Postgres, for a separate server and for the embedded engine: same driver,
 * same SQL, same types.
 *
 * Guarantees: a statement is one round trip in autocommit under read committed. bigint arrives as
 * number, timestamptz as ISO 8601 UTC, xid8 as string. Errors arrive classified
 * (database-errors.ts), so retries are decided in one place. There are no interactive transactions:
 * an atomic operation is one SQL function.
 */
export interface Statement {
  /**
   * Name of the prepared statement, prepared once per connection. Leave out for rare statements.
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
 * Connection of one append queue of the log. So a busy conversation cannot starve conversations in
 * other queues.
 */
export interface Lane {
  /**
   * Runs one statement that writes. Never retries: only the caller knows whether a retry is safe.
   * Rejects within `timeoutMs` with a `DatabaseError`. Its `kind` shows whether the statement may
   * have been executed.
   */
  run<Row>(statement: Statement, timeoutMs: number): Promise<Row[]>
}

export interface Database {
  readonly engine: 'embedded' | 'postgres'
  /** Number of lanes that the log should use. */
  readonly laneCount: number
  lane(index: number): Lane
  /**
   * Returns the connection for creating conversations, so that messages never wait behind
   * creations.
   */
  laneApart(): Lane
  /**
   * Runs one statement. Retries reads after a temporary fault, within limits (database-errors.ts).
   */
  query<Row>(statement: Statement): Promise<Row[]>
  /** Runs a script of several statements in one transaction, for migrations. */
  script(text: string): Promise<void>
  /**
   * Returns the identity of this database history: stored id, system identifier and timeline. Read
   * again on each new connection.
   */
  epoch(): Promise<string>
  /**
   * Registers a listener for a changed epoch. Called when a new connection finds a restored backup
   * or a failover.
   */
  onEpochChange(listener: (epoch: string) => void): void
  /** Reads the epoch over a new connection and notifies the listeners if it has changed. */
  recheckEpoch(): Promise<void>
  /** Returns within a second whether the database answers right now. */
  isHealthy(): Promise<boolean>
  close(): Promise<void>
}
