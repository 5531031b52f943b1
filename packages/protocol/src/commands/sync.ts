import * as z from 'zod'
import { syncPageSchema } from '../objects/sync-page.ts'
import { pageLimitSchema } from '../values/seq.ts'
import { limits } from '../limits.ts'
import { defineCommand } from './define-command.ts'

/**
 * Everything that changed in all my conversations since the cursor; without one, my conversations with the newest page
 * of each (rules RES1, RES2, RES3). A cursor that cannot be read, or of another history, is answered with `reset`.
 */
export const sync = defineCommand({
  name: 'sync',
  summary: 'Everything since a cursor, in all my conversations',
  auth: 'session',
  input: z.strictObject({
    /** Any string: what is not a cursor of this database is answered with `reset`, not with an error. */
    cursor: z.string().max(limits.cursorMaxChars).optional(),
    limit: pageLimitSchema,
  }),
  result: syncPageSchema,
  route: { method: 'GET', path: '/v1/sync', status: 200 },
  event: { name: 'sync', ack: syncPageSchema, toAck: (page) => page },
})
