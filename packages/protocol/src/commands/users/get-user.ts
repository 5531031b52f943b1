import * as z from 'zod'
import { userSchema } from '../../objects/user.ts'
import { idSchema } from '../../values/id.ts'
import { defineCommand } from '../define-command.ts'

export const getUser = defineCommand({
  name: 'get-user',
  summary: 'One profile',
  auth: 'session',
  input: z.strictObject({ id: idSchema }),
  result: z.strictObject({ user: userSchema }),
  route: { method: 'GET', path: '/v1/users/{id}', status: 200 },
})
