import * as z from 'zod'
import { limits } from '../../limits.ts'
import { messageSchema } from '../../objects/message.ts'
import { clientIdSchema, idSchema } from '../../values/id.ts'
import { jsonSchema } from '../../values/json.ts'
import { seqSchema, timeSchema } from '../../values/seq.ts'
import { messageTextSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Stores a message once and responds after the commit (rules ACK1, IDEM1). Repeating the request
 * with the same `clientId` returns the first response with `duplicate: true`; a different request
 * with that `clientId` fails with `conflict`.
 */
export const sendMessage = defineCommand({
  name: 'send-message',
  summary: 'Send a message',
  auth: 'session',
  input: z
    .strictObject({
      conversation: idSchema,
      clientId: clientIdSchema,
      text: messageTextSchema,
      replyTo: seqSchema.optional(),
      attachments: z.array(idSchema).max(10).optional(),
      data: jsonSchema(limits.dataMaxBytes).optional(),
    })
    .refine((input) => input.text.length > 0 || (input.attachments?.length ?? 0) > 0 || (input.data ?? null) !== null, {
      error: 'is empty; a message needs text, an attachment or data',
      path: ['text'],
    }),
  result: z.strictObject({ message: messageSchema, duplicate: z.literal(true).optional() }),
  route: { method: 'POST', path: '/v1/conversations/{conversation}/messages', status: 201 },
  event: {
    name: 'send',
    ack: z.strictObject({ seq: seqSchema, createdAt: timeSchema, duplicate: z.literal(true).optional() }),
    toAck: ({ message, duplicate }) => ({
      seq: message.seq,
      createdAt: message.createdAt,
      ...(duplicate && { duplicate }),
    }),
  },
})
