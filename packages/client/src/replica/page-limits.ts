/** Limits of reads that take several pages. */

/**
 * Maximum number of pages in one load or one read of missing changes. More pages mean a faulty
 * server.
 */
export const pagesMax = 2_000
/** Smallest page size after failures. */
export const pageSizeMin = 10
