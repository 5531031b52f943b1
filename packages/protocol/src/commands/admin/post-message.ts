import * as z from 'zod'
import { limits } from '../../limits.ts'
import { cardInputSchema } from '../../objects/card.ts'
import { messageSchema } from '../../objects/message.ts'
import { externalIdSchema } from '../../objects/user.ts'
import { clientIdSchema, idSchema } from '../../values/id.ts'
import { jsonSchema } from '../../values/json.ts'
import { messageTextSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Stores a message of the integrator once (rules ACK1, IDEM1), with or without a card. Its sender is
 * the bot of the key, or the user in `as` or `Chorus-As`.
 */
export const postMessage = defineCommand({
  name: 'post-message',
  summary: 'Send a message, with or without a card',
  auth: 'key',
  scope: 'write',
  actsAs: true,
  input: z
    .strictObject({
      conversation: idSchema,
      clientId: clientIdSchema,
      text: messageTextSchema.optional(),
      data: jsonSchema(limits.dataMaxBytes).optional(),
      card: cardInputSchema.optional(),
      /** External id of the sender, like the header `Chorus-As`. */
      as: externalIdSchema.optional(),
    })
    .refine((input) => (input.text ?? '') !== '' || (input.data ?? null) !== null || input.card !== undefined, {
      error: 'is empty; a message needs text, data or a card',
      path: ['text'],
    }),
  result: z.strictObject({ message: messageSchema, duplicate: z.literal(true).optional() }),
  route: { method: 'POST', path: '/v1/admin/conversations/{conversation}/messages', status: 201 },
})
