/**
 * One way to ask Postgres, whether it is a server of its own or embedded: the same driver, the same SQL, the same types.
 *
 * Promises: a statement is one round trip in autocommit under read committed; bigint arrives as number, timestamptz as
 * ISO 8601 UTC, xid8 as string; errors arrive classified (database-errors.ts), so that retries are decided in one place.
 * There are no interactive transactions: what must happen together is one SQL function.
 */
export interface Statement {
  /** Prepared once per connection under this name; leave out for what is asked rarely. */
  readonly name?: string
  readonly text: string
  readonly values?: readonly unknown[]
  /** When `query` gives up, attempts included; left out: the engine's own bound. */
  readonly timeoutMs?: number
  /**
   * The connections that it may take. Left out: `vital`, for what keeps the server alive and for small writes. `browse` is for
   * pages and lists that users ask for, `search` for look-ups by text. The embedded engine has one connection for all.
   */
  readonly pool?: 'vital' | 'browse' | 'search'
}

/** A connection that serves one lane of the log, so that a hot conversation cannot starve the others' connections. */
export interface Lane {
  /**
   * Runs one statement that writes. Never retries: the caller knows what is idempotent. Rejects with a `DatabaseError`
   * whose `kind` tells whether it may have been done, within `timeoutMs`.
   */
  run<Row>(statement: Statement, timeoutMs: number): Promise<Row[]>
}

export interface Database {
  readonly engine: 'embedded' | 'postgres'
  /** How many lanes the log should use. */
  readonly laneCount: number
  lane(index: number): Lane
  /** A connection for what makes conversations, so that no message waits behind it. */
  laneApart(): Lane
  /** Runs one statement; reads that meet a passing fault are asked again, within a bound (database-errors.ts). */
  query<Row>(statement: Statement): Promise<Row[]>
  /** Runs a script of several statements in one transaction, for migrations. */
  script(text: string): Promise<void>
  /** The identity of this history: stored id, system identifier and timeline. Read again on each new connection. */
  epoch(): Promise<string>
  /** Called with the new epoch when a new connection finds another history (a restored backup, a failover). */
  onEpochChange(listener: (epoch: string) => void): void
  /** Asks over a new connection which history it shows; a changed one is told to the listeners. */
  recheckEpoch(): Promise<void>
  /** Can it be asked right now? Answers within a second. */
  isHealthy(): Promise<boolean>
  close(): Promise<void>
}
