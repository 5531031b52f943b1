import * as z from 'zod'
import { sentChangeSchema } from '../../objects/change.ts'
import { idSchema } from '../../values/id.ts'
import { pageLimitSchema, seqOrZeroSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

export const listChanges = defineCommand({
  name: 'list-changes',
  summary: "A page of a conversation's log",
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, after: seqOrZeroSchema.default(0), limit: pageLimitSchema }),
  result: z.strictObject({ changes: z.array(sentChangeSchema), seq: seqOrZeroSchema, more: z.boolean() }),
  route: { method: 'GET', path: '/v1/conversations/{conversation}/changes', status: 200 },
})
