/**
 * SQL columns of a message, whose row in `changes` is `c` (see support/message-columns.ts), and of
 * the subject of a conversation.
 */
import { messageColumns } from '../support/message-columns.ts'

/** Column list for a `select`. */
export const messageSelection = messageColumns
  .map(({ column, stored }) => (stored === column ? `c.${column}` : `c.${stored} as ${column}`))
  .join(', ')

/** Argument list for `json_build_object`. */
export const messagePairs = messageColumns.map(({ column, stored }) => `'${column}', c.${stored}`).join(', ')

/** Expression for the JSON of a subject: `v` is the conversation's row. */
export const subjectJson = `json_build_object(
  'type', v.subject_type, 'id', v.subject_id, 'title', v.subject_title, 'url', v.subject_url, 'data', v.subject_data)`
