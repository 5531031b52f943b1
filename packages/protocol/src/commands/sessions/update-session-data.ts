import * as z from 'zod'
import { limits } from '../../limits.ts'
import { jsonObjectSchema } from '../../values/json.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Merges the top-level keys of the body into the application data of the session. Fails with
 * `too-large` when the merged data would exceed 8192 bytes.
 */
export const updateSessionData = defineCommand({
  name: 'update-session-data',
  summary: 'Merge into the application data stored with this session',
  auth: 'session',
  ownSession: true,
  input: z.strictObject({ data: jsonObjectSchema(limits.sessionDataMaxBytes) }),
  result: z.strictObject({ data: jsonObjectSchema(limits.sessionDataMaxBytes) }),
  route: { method: 'PATCH', path: '/v1/session/data', status: 200, bodyIs: 'data' },
})
