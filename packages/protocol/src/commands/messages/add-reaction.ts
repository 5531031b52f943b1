import * as z from 'zod'
import { emojiSchema } from '../../values/emoji.ts'
import { idSchema } from '../../values/id.ts'
import { seqSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Adds a reaction to a message. Repeating the request changes nothing and returns the seq at which
 * the reaction was added.
 */
export const addReaction = defineCommand({
  name: 'add-reaction',
  summary: 'React to a message',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, seq: seqSchema, emoji: emojiSchema }),
  result: z.strictObject({ seq: seqSchema }),
  route: { method: 'PUT', path: '/v1/conversations/{conversation}/messages/{seq}/reactions/{emoji}', status: 200 },
  event: { name: 'react', ack: z.strictObject({ seq: seqSchema }), toAck: ({ seq }) => ({ seq }) },
})
