import * as z from 'zod'
import { externalIdSchema } from '../../objects/user.ts'
import { defineCommand } from '../define-command.ts'

export const revokeTokens = defineCommand({
  name: 'revoke-tokens',
  summary: 'Refuse all tokens of a user that were issued until now, and end their sessions',
  auth: 'key',
  scope: 'admin',
  input: z.strictObject({ externalId: externalIdSchema }),
  result: z.null(),
  route: { method: 'POST', path: '/v1/admin/users/{externalId}/revoke-tokens', status: 204 },
})
