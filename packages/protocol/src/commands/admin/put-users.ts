import * as z from 'zod'
import { limits } from '../../limits.ts'
import { errorBodySchema } from '../../objects/error-body.ts'
import { externalIdSchema, externalUserSchema } from '../../objects/user.ts'
import { defineCommand } from '../define-command.ts'
import { externalProfileFields } from './put-user.ts'

export const putUsers = defineCommand({
  name: 'put-users',
  summary: 'Create or update up to 1000 users; each has its own result',
  auth: 'key',
  scope: 'write',
  input: z.strictObject({
    users: z
      .array(z.strictObject({ externalId: externalIdSchema, ...externalProfileFields }))
      .min(1)
      .max(limits.bulkUsersMax),
  }),
  result: z.strictObject({
    /** Results in the order of the request. */
    results: z.array(
      z.strictObject({
        externalId: externalIdSchema,
        user: externalUserSchema.optional(),
        error: errorBodySchema.optional(),
      }),
    ),
  }),
  route: { method: 'POST', path: '/v1/admin/users', status: 200, bodyMaxBytes: limits.bulkMaxBytes },
})
