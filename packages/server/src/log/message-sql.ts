/** SQL columns of a message: `c` is its row in `changes` (see support/message-columns.ts). */
import { messageColumns } from '../support/message-columns.ts'

/** Column list for a `select`. */
export const messageSelection = messageColumns
  .map(({ column, stored }) => (stored === column ? `c.${column}` : `c.${stored} as ${column}`))
  .join(', ')

/** Argument list for `json_build_object`. */
export const messagePairs = messageColumns.map(({ column, stored }) => `'${column}', c.${stored}`).join(', ')
