import * as z from 'zod'
import { externalIdSchema } from '../../objects/user.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Erases a user (rule ERASE2). The response is sent when the erasure has begun. Until it is done,
 * the user is `erasing`. Then there is no user with this id, and the id is free.
 */
export const deleteUser = defineCommand({
  name: 'delete-user',
  summary: 'Erase a user, with everything they have written',
  auth: 'key',
  scope: 'admin',
  input: z.strictObject({ externalId: externalIdSchema }),
  result: z.null(),
  route: { method: 'DELETE', path: '/v1/admin/users/{externalId}', status: 204 },
})
