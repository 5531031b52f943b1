/** Units and sizes of the costs of commands (rule LIM3). */

export const costUnits = {
  /** Number of result characters that cost one request. */
  answerCharsPerRequest: 32_768,
  /**
   * Number of live-value characters that cost one request: each value is kept, published and sent
   * to every viewer.
   */
  liveCharsPerRequest: 256,
  /**
   * Number of newly watched users that cost one request: each may be a subscription and a query in
   * Redis.
   */
  watchedPerRequest: 2,
} as const

/** Returns the cost of a search, which reads every row that begins with the search text. */
export const search = (): number => 4
/** Returns the cost of a list that sorts all sessions of the user. */
export const sessionList = (): number => 4
/** Returns the cost of one or two written rows and of events for the user's other devices. */
export const smallWrite = (): number => 2
/** Returns the cost of a row that many users' pages show, or of a mail. */
export const rareWrite = (): number => 9
