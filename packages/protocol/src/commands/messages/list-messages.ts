import * as z from 'zod'
import { messagePageSchema } from '../../objects/message.ts'
import { idSchema } from '../../values/id.ts'
import { pageLimitSchema, seqOrZeroSchema, seqSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Returns a page of history in seq order: the newest page, or the page before, after or around a
 * given seq. A request may contain only one of `before`, `after` and `around`.
 */
export const listMessages = defineCommand({
  name: 'list-messages',
  summary: 'A page of history',
  auth: 'session',
  input: z
    .strictObject({
      conversation: idSchema,
      before: seqSchema.optional(),
      after: seqOrZeroSchema.optional(),
      around: seqSchema.optional(),
      limit: pageLimitSchema,
    })
    .refine(({ before, after, around }) => [before, after, around].filter((seq) => seq !== undefined).length <= 1, {
      error: 'allows only one of before, after and around',
    }),
  result: messagePageSchema,
  route: { method: 'GET', path: '/v1/conversations/{conversation}/messages', status: 200 },
})
