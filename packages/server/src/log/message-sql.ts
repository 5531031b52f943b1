/** SQL of the columns of message `c`, a row of `changes` (support/message-columns.ts). */
import { messageColumns } from '../support/message-columns.ts'

/** Columns of a select. */
export const messageSelection = messageColumns
  .map(({ column, stored }) => (stored === column ? `c.${column}` : `c.${stored} as ${column}`))
  .join(', ')

/** Arguments of `json_build_object`. */
export const messagePairs = messageColumns.map(({ column, stored }) => `'${column}', c.${stored}`).join(', ')
