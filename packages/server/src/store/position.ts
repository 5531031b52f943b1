/**
 * The horizonless position, as SQL (rule RES2): everything below it is visible or aborted.
 *
 * The oldest transaction still running bounds it from above; so does the newest transaction id stored in any swept table,
 * plus one, because the numbers of aborted transactions do not survive a crash of Postgres and are handed out again: the
 * bare xmin then skipped rows.
 */
export const positionSql = `least(pg_snapshot_xmin(pg_current_snapshot())::text::bigint, ${storedNextSql()})`

/** The newest transaction id stored in any swept table, plus one: no transaction below it will be handed out again. */
export function storedNextSql(): string {
  return `greatest(
    3,
    coalesce((select xid::text::bigint + 1 from changes order by xid desc limit 1), 3),
    coalesce((select xid::text::bigint + 1 from members order by xid desc limit 1), 3),
    coalesce((select xid::text::bigint + 1 from sessions order by xid desc limit 1), 3))`
}

/** Transactions that have begun to write and are still open, the oldest first, as rows of one bigint. */
export const openTransactionsSql = 'select x::text::bigint from pg_snapshot_xip(pg_current_snapshot()) x order by 1'

/** Positions above this are from the future: of another history. */
export const positionMaxSql = 'pg_snapshot_xmax(pg_current_snapshot())::text::bigint'

/** A position as a parameter: xid8 has no cast from bigint. */
export const xidParameter = (index: number): string => `$${index}::text::xid8`
