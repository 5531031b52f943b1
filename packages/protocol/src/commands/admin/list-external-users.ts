import * as z from 'zod'
import { externalUserSchema } from '../../objects/user.ts'
import { cursorSchema, pageLimitSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

export const listExternalUsers = defineCommand({
  name: 'list-external-users',
  summary: 'Users with an id of your system, in the order of their creation',
  auth: 'key',
  scope: 'read',
  input: z.strictObject({ limit: pageLimitSchema, page: cursorSchema.optional() }),
  result: z.strictObject({ users: z.array(externalUserSchema), next: cursorSchema.optional() }),
  route: { method: 'GET', path: '/v1/admin/users', status: 200 },
})
