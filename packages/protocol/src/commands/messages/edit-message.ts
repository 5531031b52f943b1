import * as z from 'zod'
import { limits } from '../../limits.ts'
import { messageSchema } from '../../objects/message.ts'
import { idSchema } from '../../values/id.ts'
import { seqSchema } from '../../values/seq.ts'
import { textSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Edits a message. Allowed only for its sender. An edit to the same text changes nothing and
 * returns the seq of the last change to the message.
 */
export const editMessage = defineCommand({
  name: 'edit-message',
  summary: 'Edit one of my messages',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, seq: seqSchema, text: textSchema(1, limits.textMaxChars) }),
  result: z.strictObject({
    /** Seq of the change that edited the message. */
    seq: seqSchema,
    message: messageSchema,
  }),
  route: { method: 'PATCH', path: '/v1/conversations/{conversation}/messages/{seq}', status: 200 },
  event: { name: 'edit', ack: z.strictObject({ seq: seqSchema }), toAck: ({ seq }) => ({ seq }) },
})
