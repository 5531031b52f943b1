import * as z from 'zod'
import { digestSchema, emailSchema, notificationsSchema } from '../objects/notifications.ts'
import { defineCommand } from './define-command.ts'

/**
 * A new address gets a link that confirms it, and nothing else before that; the same unconfirmed address again gets another
 * link. Bounded for each person and each address: `rate-limited`. `null` forgets the address. `forbidden` where the server
 * sends no mail.
 */
export const setNotifications = defineCommand({
  name: 'set-notifications',
  summary: 'Set where I get mail about what I missed',
  auth: 'session',
  input: z.strictObject({ email: emailSchema.nullable(), digest: digestSchema }),
  result: notificationsSchema,
  route: { method: 'PUT', path: '/v1/notifications', status: 200 },
})
