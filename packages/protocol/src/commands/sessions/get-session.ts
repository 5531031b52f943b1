import * as z from 'zod'
import { sessionSchema } from '../../objects/session.ts'
import { userSchema } from '../../objects/user.ts'
import { defineCommand } from '../define-command.ts'

export const getSession = defineCommand({
  name: 'get-session',
  summary: 'My user and my session',
  auth: 'session',
  ownSession: true,
  input: z.strictObject({}),
  result: z.strictObject({ user: userSchema, session: sessionSchema }),
  route: { method: 'GET', path: '/v1/session', status: 200 },
})
