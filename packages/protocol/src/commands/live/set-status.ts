import * as z from 'zod'
import { defineCommand } from '../define-command.ts'

/**
 * Sets whether the user at this connection is active; a user is online while any of their
 * connections is online.
 */
export const setStatus = defineCommand({
  name: 'set-status',
  summary: 'Set my presence status',
  auth: 'session',
  ownSession: true,
  input: z.strictObject({ status: z.enum(['online', 'away']) }),
  result: z.strictObject({}),
  route: { method: 'PUT', path: '/v1/status', status: 200 },
  event: { name: 'status', ack: z.strictObject({}), toAck: () => ({}) },
})
