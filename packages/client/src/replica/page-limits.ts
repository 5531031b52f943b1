/** Limits of reads that take several pages. */

/**
 * Maximum number of pages in one load or one read of missing changes. More pages mean a faulty
 * server.
 */
export const pagesMax = 2_000
/** Smallest number of entries on a page. Each failure makes the next page smaller. */
export const pageSizeMin = 10
