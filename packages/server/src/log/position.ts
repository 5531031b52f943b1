/**
 * SQL expression for a position: every transaction below it is visible or aborted (rule RES2).
 *
 * The position is at most the id of the oldest running transaction (xmin). It is also at most one
 * above the newest transaction id stored in any table that the sweep reads. Reason: after a crash,
 * Postgres reuses the ids of aborted transactions. A position from xmin alone could then be above
 * the ids of new rows, and skip them.
 */
export const positionSql = `least(pg_snapshot_xmin(pg_current_snapshot())::text::bigint, ${storedNextSql()})`

/**
 * Builds SQL for the newest transaction id stored in any table that the sweep reads, plus one.
 * Postgres never gives a new transaction an id below it.
 */
export function storedNextSql(): string {
  return `greatest(
    3,
    coalesce((select xid::text::bigint + 1 from changes order by xid desc limit 1), 3),
    coalesce((select xid::text::bigint + 1 from members order by xid desc limit 1), 3),
    coalesce((select xid::text::bigint + 1 from sessions order by xid desc limit 1), 3))`
}

/**
 * SQL for the ids of open transactions that have started to write, oldest first, as rows of one
 * bigint.
 */
export const openTransactionsSql = 'select x::text::bigint from pg_snapshot_xip(pg_current_snapshot()) x order by 1'

/** SQL for the highest valid position. A higher position comes from another database history. */
export const positionMaxSql = 'pg_snapshot_xmax(pg_current_snapshot())::text::bigint'

/**
 * Builds the SQL placeholder for a position. A position is sent as text, because xid8 has no cast
 * from bigint.
 */
export const xidParameter = (index: number): string => `$${index}::text::xid8`
