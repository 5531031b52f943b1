import * as z from 'zod'
import { sessionSchema } from '../../objects/session.ts'
import { defineCommand } from '../define-command.ts'

export const listSessions = defineCommand({
  name: 'list-sessions',
  summary: 'My signed-in devices',
  auth: 'session',
  ownSession: true,
  input: z.strictObject({}),
  result: z.strictObject({ sessions: z.array(sessionSchema) }),
  route: { method: 'GET', path: '/v1/sessions', status: 200 },
})
