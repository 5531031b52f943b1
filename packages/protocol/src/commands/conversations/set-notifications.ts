import * as z from 'zod'
import { digestSchema, emailSchema, notificationsSchema } from '../../objects/notifications.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Sets the mail address of the caller and whether a digest of unread messages is mailed to it. A
 * new address first receives only a confirmation link; setting the same unconfirmed address again
 * sends another link. Links are limited per user and per address (`rate-limited`). `null` removes
 * the address. Servers that send no mail answer `forbidden`.
 */
export const setNotifications = defineCommand({
  name: 'set-notifications',
  summary: 'Change my settings for mail about missed messages',
  auth: 'session',
  input: z.strictObject({ email: emailSchema.nullable(), digest: digestSchema }),
  result: notificationsSchema,
  route: { method: 'PUT', path: '/v1/notifications', status: 200 },
})
