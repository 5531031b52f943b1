import * as z from 'zod'
import { avatarSchema, externalIdSchema, externalUserSchema, handleSchema } from '../../objects/user.ts'
import { nameSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/** Fields of a user that an integrator sets. Optional fields that are left out keep their value. */
export const externalProfileFields = {
  name: nameSchema,
  avatar: avatarSchema.nullable().optional(),
  handle: handleSchema.optional(),
  deactivated: z.boolean().optional(),
}

export const putUser = defineCommand({
  name: 'put-user',
  summary: 'Create or update a user by the id of your system; `deactivated` needs the scope admin',
  auth: 'key',
  scope: 'write',
  input: z.strictObject({ externalId: externalIdSchema, ...externalProfileFields }),
  result: z.strictObject({ user: externalUserSchema, duplicate: z.boolean().optional() }),
  route: { method: 'PUT', path: '/v1/admin/users/{externalId}', status: 201 },
})
