import * as z from 'zod'
import { idSchema } from '../../values/id.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Signs out one of the caller's devices; its connections close on every server within a second
 * (rule ACL2).
 */
export const revokeSession = defineCommand({
  name: 'revoke-session',
  summary: 'Sign out one of my devices',
  auth: 'session',
  ownSession: true,
  input: z.strictObject({ id: idSchema }),
  result: z.null(),
  route: { method: 'DELETE', path: '/v1/sessions/{id}', status: 204 },
})
