import * as z from 'zod'
import { notificationsSchema } from '../../objects/notifications.ts'
import { defineCommand } from '../define-command.ts'

export const getNotifications = defineCommand({
  name: 'get-notifications',
  summary: 'My settings for mail about missed messages',
  auth: 'session',
  input: z.strictObject({}),
  result: notificationsSchema,
  route: { method: 'GET', path: '/v1/notifications', status: 200 },
})
