/**
 * Sets the Postgres settings that the server relies on, and checks them on every new connection.
 *
 * Start-up parameters are not reliable: `options` in DATABASE_URL replaces ours, and poolers such
 * as pgbouncer refuse or drop them. Defaults of the role or the database then apply. So each new
 * connection gets every setting by a statement. A connection that does not show the values
 * afterwards is never used (rules ACK1, ORD1).
 */
import type pg from 'pg'
import { StartError } from '../support/start-error.ts'

/** Required value of each setting, in the spelling that Postgres shows. */
const settings = {
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
  synchronous_commit: 'on',
  lock_timeout: '1500ms',
  idle_in_transaction_session_timeout: '10s',
  idle_session_timeout: '0',
  // This setting exists since Postgres 17.
  transaction_timeout: '0',
  TimeZone: 'UTC',
  DateStyle: 'ISO, MDY',
  bytea_output: 'hex',
  standard_conforming_strings: 'on',
  client_encoding: 'UTF8',
  // Off, because compiling a statement takes longer than any read of the server should, and cannot
  // be interrupted.
  jit: 'off',
  // No parallel workers: a read that would need a second CPU reads too much.
  max_parallel_workers_per_gather: '0',
  enable_indexscan: 'on',
  enable_bitmapscan: 'on',
  enable_nestloop: 'on',
  enable_sort: 'on',
} as const

/**
 * Settings that are checked but not set. The value of `transaction_isolation` is that of the
 * checking statement. `session_replication_role` may be preset for the role, and this server may
 * not be allowed to change it.
 */
const shownOnly = { transaction_isolation: 'read committed', session_replication_role: 'origin' } as const

const checkTimeoutMs = 1_400

/** Time limit of the statements that check a new connection. */
const openingStatementMs = checkTimeoutMs

/**
 * Sets every setting and reads it back. Sets the search path to the schema with the tables only.
 * Rejects with a `StartError` that names the first wrong setting.
 */
export async function applySessionSettings(client: pg.ClientBase, schema: string | undefined): Promise<void> {
  const wanted: Record<string, string> = {
    statement_timeout: `${openingStatementMs}ms`,
    ...settings,
    ...(schema !== undefined && { search_path: quoteIdentifier(schema) }),
  }
  const ask = async <Row>(text: string, values: readonly unknown[]): Promise<Row[]> =>
    (await client.query({ text, values: [...values], query_timeout: checkTimeoutMs + 100 } as pg.QueryConfig))
      .rows as Row[]
  // Set this first, in its own statement: the role's own statement_timeout could cancel the next
  // statement.
  await ask(`set statement_timeout = ${openingStatementMs}`, [])
  await ask(
    `select set_config(name, value, false) from unnest($1::text[], $2::text[]) w(name, value)
      where current_setting(name, true) is not null`,
    [Object.keys(wanted), Object.values(wanted)],
  )
  const expected = { ...wanted, ...shownOnly }
  const shown = await ask<{ name: string; value: string | null }>(
    'select name, current_setting(name, true) as value from unnest($1::text[]) w(name)',
    [Object.keys(expected)],
  )
  for (const { name, value } of shown) {
    const right = expected[name as keyof typeof expected]
    if (value === null || value === right) continue
    throw new StartError(
      `unable to use the database that DATABASE_URL names; its connections show ${name} = ${value} instead of ${right}, though the server sets it`,
    )
  }
}

/**
 * Rejects with a `StartError` if new transactions cannot write. Checked only at the start, and not
 * set by the server: a hosting provider makes a database read-only when its disk fills up, and
 * lifts that later. Until then, messages are refused.
 */
export async function refuseReadOnly(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ value: string }>(
    `select current_setting('default_transaction_read_only') as value`,
  )
  if (rows[0]?.value === 'on') {
    throw new StartError(
      'unable to use the database; default_transaction_read_only is on for DATABASE_URL, and must be off',
    )
  }
}

/**
 * Returns the schema in which this connection finds the tables or would create them. All
 * connections use this schema: if the role's `search_path` changes later, a server must not find
 * half of its tables elsewhere.
 */
export async function findSchema(client: pg.ClientBase): Promise<string> {
  const { rows } = await client.query<{ schema: string | null }>({
    text: `select coalesce(
             (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass('migrations')),
             current_schema()) as schema`,
    query_timeout: checkTimeoutMs,
  } as pg.QueryConfig)
  const schema = rows[0]?.schema ?? undefined
  if (schema !== undefined) return schema
  throw new StartError(
    'unable to use the database that DATABASE_URL names; no schema of its search_path exists and is accessible',
  )
}

function quoteIdentifier(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}

/**
 * Refuses a pooler that shares our connection between sessions, such as pgbouncer in transaction
 * mode. With it, settings and prepared statements of other sessions would apply to ours. `held` is
 * connected and idle; `open` opens one more connection.
 *
 * If a connection reports another backend than the one that runs its statements, it goes through a
 * pooler. The check then opens a second session with an open transaction. In transaction mode that
 * session takes the idle backend, and the first session's next statement runs in another backend,
 * or waits.
 */
export async function refuseSharedBackends(held: pg.ClientBase, open: () => Promise<pg.Client>): Promise<void> {
  const reported = (held as pg.ClientBase & { readonly processID?: number | null }).processID
  const before = await backendOf(held)
  if (before === reported) return
  const others: pg.Client[] = []
  try {
    while (others.length < pooledProbes) {
      const other = await open()
      others.push(other)
      // In its statement mode, pgbouncer refuses `begin`.
      const holds = await other.query('begin').then(
        () => true,
        () => false,
      )
      if (holds) await backendOf(other)
      const now = holds ? await backendOf(held).catch(() => undefined) : undefined
      if (now === before) continue
      throw new StartError(
        'unable to use the database; the pooler that DATABASE_URL names shares connections between transactions: set its pool_mode to session, or name Postgres itself',
      )
    }
  } finally {
    await Promise.all(others.map((other) => other.end().catch(() => undefined)))
  }
}

const pooledProbes = 3

async function backendOf(client: pg.ClientBase): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>({
    text: 'select pg_backend_pid() as pid',
    query_timeout: checkTimeoutMs,
  } as pg.QueryConfig)
  return rows[0]?.pid
}
