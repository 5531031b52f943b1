import * as z from 'zod'
import { memberSchema, roleSchema } from '../../objects/conversation.ts'
import { idSchema } from '../../values/id.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Adds a member to a conversation or changes the role of a member. With `me` as the user, the
 * caller joins a public channel. Repeating the request changes nothing.
 */
export const putMember = defineCommand({
  name: 'put-member',
  summary: 'Add a member, change a role, or join a channel as `me`',
  auth: 'session',
  input: z.strictObject({
    conversation: idSchema,
    user: z.union([z.literal('me'), idSchema]),
    role: roleSchema.optional(),
  }),
  result: z.strictObject({ member: memberSchema }),
  route: { method: 'PUT', path: '/v1/conversations/{conversation}/members/{user}', status: 200 },
})
