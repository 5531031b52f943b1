import * as z from 'zod'
import { limits } from '../../limits.ts'
import { liveKeySchema } from '../../objects/live-value.ts'
import { idSchema } from '../../values/id.ts'
import { jsonSchema } from '../../values/json.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Sets the caller's value for a key of a conversation. The newest value replaces the previous one
 * and expires by itself (rule LIVE1). `null` removes the value at once.
 */
export const setLiveValue = defineCommand({
  name: 'set-live-value',
  summary: 'Set a live value: typing, location, or a custom key',
  auth: 'session',
  input: z.strictObject({
    conversation: idSchema,
    key: liveKeySchema,
    value: jsonSchema(limits.liveValueMaxBytes),
    ttlMs: z.int().min(1).max(limits.liveTtlMaxMs),
  }),
  result: z.strictObject({}),
  route: { method: 'PUT', path: '/v1/conversations/{conversation}/live/{key}', status: 200 },
  event: { name: 'live', ack: z.strictObject({}), toAck: () => ({}) },
})
