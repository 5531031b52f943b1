import * as z from 'zod'
import { memberSchema } from '../../objects/conversation.ts'
import { idSchema } from '../../values/id.ts'
import { cursorSchema, pageLimitSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

export const listMembers = defineCommand({
  name: 'list-members',
  summary: 'Members, in the order in which they joined',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, limit: pageLimitSchema, page: cursorSchema.optional() }),
  result: z.strictObject({ members: z.array(memberSchema), next: cursorSchema.optional() }),
  route: { method: 'GET', path: '/v1/conversations/{conversation}/members', status: 200 },
})
