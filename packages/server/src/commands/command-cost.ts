/** Units of the costs of commands, and the costs that several commands share (rule LIM3). */

export const costUnits = {
  /** Number of result characters that cost as much as one request. */
  answerCharsPerRequest: 32_768,
  /**
   * Number of live-value characters that cost as much as one request: each value is stored in
   * memory, published and sent to every viewer.
   */
  liveCharsPerRequest: 256,
  /**
   * Number of newly watched users that cost as much as one request: each may cause a subscription
   * and a query in Redis.
   */
  watchedPerRequest: 2,
} as const

/** Returns the cost of a search, which reads every row that begins with the search text. */
export const search = (): number => 4
/** Returns the cost of a command that lists and sorts all sessions of the user. */
export const sessionList = (): number => 4
/**
 * Returns the cost of a command that writes one or two rows and sends events to the user's other
 * devices.
 */
export const smallWrite = (): number => 2
/** Returns the cost of a command that sends a mail, or changes a row that many users see. */
export const rareWrite = (): number => 9
