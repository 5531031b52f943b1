import * as z from 'zod'
import { defineCommand } from '../define-command.ts'

/**
 * Confirms a mail address by the token in the mailed link. A token works once; a used, expired or
 * unknown token fails with `not-found`.
 */
export const confirmEmail = defineCommand({
  name: 'confirm-email',
  summary: 'Confirm an e-mail address by the token of the mailed link',
  auth: 'none',
  input: z.strictObject({ token: z.string().regex(/^[A-Za-z0-9_-]{43}$/, { error: 'is not a token of this server' }) }),
  result: z.null(),
  route: { method: 'POST', path: '/v1/notifications/confirm', status: 204 },
})
