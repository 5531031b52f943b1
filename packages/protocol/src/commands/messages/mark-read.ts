import * as z from 'zod'
import { idSchema } from '../../values/id.ts'
import { seqOrZeroSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Moves the caller's read marker (the seq up to which the caller has read). The marker never moves
 * back, and never past the newest seq.
 */
export const markRead = defineCommand({
  name: 'mark-read',
  summary: 'Move my read marker',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, seq: seqOrZeroSchema }),
  result: z.strictObject({ readSeq: seqOrZeroSchema }),
  route: { method: 'PUT', path: '/v1/conversations/{conversation}/read', status: 200 },
  event: { name: 'read', ack: z.strictObject({ readSeq: seqOrZeroSchema }), toAck: ({ readSeq }) => ({ readSeq }) },
})
