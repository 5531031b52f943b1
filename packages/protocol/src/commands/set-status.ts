import * as z from 'zod'
import { defineCommand } from './define-command.ts'

/** Says whether the person at this connection is there; a user is online while any of their connections is. */
export const setStatus = defineCommand({
  name: 'set-status',
  summary: 'Say whether I am there',
  auth: 'session',
  input: z.strictObject({ status: z.enum(['online', 'away']) }),
  result: z.strictObject({}),
  route: { method: 'PUT', path: '/v1/status', status: 200 },
  event: { name: 'status', ack: z.strictObject({}), toAck: () => ({}) },
})
