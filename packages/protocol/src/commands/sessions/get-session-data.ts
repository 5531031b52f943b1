import * as z from 'zod'
import { limits } from '../../limits.ts'
import { jsonObjectSchema } from '../../values/json.ts'
import { defineCommand } from '../define-command.ts'

export const getSessionData = defineCommand({
  name: 'get-session-data',
  summary: 'The application data stored with this session',
  auth: 'session',
  ownSession: true,
  input: z.strictObject({}),
  result: z.strictObject({ data: jsonObjectSchema(limits.sessionDataMaxBytes) }),
  route: { method: 'GET', path: '/v1/session/data', status: 200 },
})
