/**
 * The smallest interface of a database client that the outbox needs: `pg` (Pool and Client), PGlite
 * and its transactions have it, and adapters for other drivers are one line.
 */

/** A client that runs one statement. Enough to write into a transaction. */
export interface StatementClient {
  query(text: string, values?: unknown[]): Promise<unknown>
}

/** A client or pool that also returns rows. */
export interface QueryClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[] }>
}

/**
 * Maximum time for one statement of the relay. A connection that breaks silently must not stop it.
 */
export const statementTimeoutMs = 10_000

/** Runs a statement and returns its rows. Rejects if the database does not answer in time. */
export async function readRows<Row>(client: QueryClient, text: string, values: unknown[] = []): Promise<Row[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new Error(`unable to query; the database did not answer within ${statementTimeoutMs} ms`)),
      statementTimeoutMs,
    )
  })
  try {
    const { rows } = await Promise.race([client.query(text, values), late])
    return rows as Row[]
  } finally {
    clearTimeout(timer)
  }
}
