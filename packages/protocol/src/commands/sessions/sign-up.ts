import * as z from 'zod'
import { handleSchema, passwordSchema, userSchema } from '../../objects/user.ts'
import { nameSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Creates an account and signs it in. Fails with `conflict` when the handle is taken, and with
 * `forbidden` when the server allows no new accounts.
 */
export const signUp = defineCommand({
  name: 'sign-up',
  summary: 'Create an account and sign in',
  auth: 'none',
  input: z.strictObject({ handle: handleSchema, password: passwordSchema, name: nameSchema }),
  result: z.strictObject({ user: userSchema }),
  route: { method: 'POST', path: '/v1/users', status: 201 },
})
