import * as z from 'zod'
import { idSchema } from '../../values/id.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Removes a member from a conversation. With `me` as the user, the caller leaves. Later changes
 * never reach the removed user over any transport (rule ACL1).
 */
export const removeMember = defineCommand({
  name: 'remove-member',
  summary: 'Remove a member, or leave as `me`',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, user: z.union([z.literal('me'), idSchema]) }),
  result: z.null(),
  route: { method: 'DELETE', path: '/v1/conversations/{conversation}/members/{user}', status: 204 },
})
