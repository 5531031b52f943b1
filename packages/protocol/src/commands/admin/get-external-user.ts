import * as z from 'zod'
import { externalIdSchema, externalUserSchema } from '../../objects/user.ts'
import { defineCommand } from '../define-command.ts'

export const getExternalUser = defineCommand({
  name: 'get-external-user',
  summary: 'A user by the id of your system',
  auth: 'key',
  scope: 'read',
  input: z.strictObject({ externalId: externalIdSchema }),
  result: z.strictObject({ user: externalUserSchema }),
  route: { method: 'GET', path: '/v1/admin/users/{externalId}', status: 200 },
})
