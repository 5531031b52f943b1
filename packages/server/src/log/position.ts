/**
 * SQL expression for a position: every transaction below it is visible or aborted (rule RES2).
 *
 * The position is at most the id of the oldest running transaction (xmin). It is also at most one
 * above the newest transaction id stored in any swept table. Reason: after a crash Postgres hands
 * out the ids of aborted transactions again, so a position from xmin alone skipped rows.
 */
export const positionSql = `least(pg_snapshot_xmin(pg_current_snapshot())::text::bigint, ${storedNextSql()})`

/**
 * Builds SQL for the newest transaction id stored in any swept table, plus one. Postgres never
 * hands out an id below it again.
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

/**
 * SQL for the highest valid position. A higher position comes from another history of the database.
 */
export const positionMaxSql = 'pg_snapshot_xmax(pg_current_snapshot())::text::bigint'

/**
 * Builds the parameter for a position. It is sent as text, because xid8 has no cast from bigint.
 */
export const xidParameter = (index: number): string => `$${index}::text::xid8`
