import * as z from 'zod'
import { limits } from '../../limits.ts'
import { presenceSchema } from '../../objects/live-value.ts'
import { idSchema } from '../../values/id.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Replaces the list of users whose presence this connection follows. Users who share no
 * conversation with the caller are `unknown`.
 */
export const watchPresence = defineCommand({
  name: 'watch-presence',
  summary: 'Presence of users I share a conversation with; Socket.IO also sends updates',
  auth: 'session',
  input: z.strictObject({ users: z.array(idSchema).max(limits.listMaxIds) }),
  result: z.strictObject({ presence: z.array(presenceSchema) }),
  route: { method: 'POST', path: '/v1/presence', status: 200 },
  event: {
    name: 'watch',
    ack: z.strictObject({ presence: z.array(presenceSchema) }),
    toAck: ({ presence }) => ({ presence }),
  },
})
