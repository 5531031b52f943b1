import * as z from 'zod'
import { limits } from '../../limits.ts'
import { timeSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Lets a connection that was opened with a user token go on under a new one. A token of another
 * user is `forbidden`.
 */
export const authenticate = defineCommand({
  name: 'authenticate',
  summary: 'Renew the user token of this connection',
  auth: 'session',
  input: z.strictObject({ token: z.string().min(1).max(limits.tokenMaxChars) }),
  result: z.strictObject({ expiresAt: timeSchema }),
  event: { name: 'authenticate', ack: z.strictObject({ expiresAt: timeSchema }), toAck: (result) => result },
})
