import * as z from 'zod'
import { messageSchema } from '../../objects/message.ts'
import { idSchema } from '../../values/id.ts'
import { seqSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Deletes a message. Allowed for its sender, moderators and owners; an empty message that is marked
 * as deleted stays in its place.
 */
export const deleteMessage = defineCommand({
  name: 'delete-message',
  summary: 'Delete a message',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, seq: seqSchema }),
  result: z.strictObject({ seq: seqSchema, message: messageSchema }),
  route: { method: 'DELETE', path: '/v1/conversations/{conversation}/messages/{seq}', status: 200 },
  event: { name: 'delete', ack: z.strictObject({ seq: seqSchema }), toAck: ({ seq }) => ({ seq }) },
})
