import * as z from 'zod'
import { syncPageSchema } from '../../objects/sync-page.ts'
import { pageLimitSchema } from '../../values/seq.ts'
import { limits } from '../../limits.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Returns all changes in the caller's conversations since the cursor. Without a cursor, returns the
 * conversations with the newest page of each (rules RES1, RES2, RES3). An unreadable cursor, or one
 * of another epoch, is answered with `reset`.
 */
export const sync = defineCommand({
  name: 'sync',
  summary: 'Everything since a cursor, in all my conversations',
  auth: 'session',
  input: z.strictObject({
    /** Any string is accepted: an invalid cursor is answered with `reset`, not with an error. */
    cursor: z.string().max(limits.cursorMaxChars).optional(),
    limit: pageLimitSchema,
  }),
  result: syncPageSchema,
  route: { method: 'GET', path: '/v1/sync', status: 200 },
  event: { name: 'sync', ack: syncPageSchema, toAck: (page) => page },
})
