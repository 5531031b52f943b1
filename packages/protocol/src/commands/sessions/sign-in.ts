import * as z from 'zod'
import { limits } from '../../limits.ts'
import { sessionSchema } from '../../objects/session.ts'
import { userSchema } from '../../objects/user.ts'
import { textSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Signs in. The response and its timing are the same for an unknown handle and a wrong password.
 */
export const signIn = defineCommand({
  name: 'sign-in',
  summary: 'Sign in; sets the session cookie',
  auth: 'none',
  input: z.strictObject({
    handle: textSchema(1, limits.nameMaxChars),
    password: textSchema(1, limits.passwordMaxChars),
  }),
  result: z.strictObject({ user: userSchema, session: sessionSchema }),
  route: { method: 'POST', path: '/v1/session', status: 200 },
})
