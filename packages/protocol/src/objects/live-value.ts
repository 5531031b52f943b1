/**
 * Live values: state outside the log. The newest value per (conversation, key, user) wins, and
 * values expire by themselves (rule LIVE1).
 */
import * as z from 'zod'
import { limits } from '../limits.ts'
import { idSchema } from '../values/id.ts'
import { jsonSchema } from '../values/json.ts'
import { timeSchema } from '../values/seq.ts'

/**
 * Key of a live value. `typing`, `location` and `read` are predefined; applications may choose
 * other keys.
 */
export const liveKeySchema = z
  .string()
  .max(limits.liveKeyMaxChars)
  .regex(/^[a-z][a-z0-9._-]*$/)
  .meta({ id: 'LiveKey' })

export const liveValueSchema = z
  .strictObject({
    conversation: idSchema,
    key: liveKeySchema,
    user: idSchema,
    /** The value itself, defined by the application. Null ends the live value before its expiry. */
    value: jsonSchema(limits.liveValueMaxBytes),
    at: timeSchema,
    expiresAt: timeSchema,
  })
  .meta({ id: 'LiveValue' })

export type LiveValue = z.infer<typeof liveValueSchema>

export const presenceStatusSchema = z.enum(['online', 'away', 'offline', 'unknown'])
export type PresenceStatus = z.infer<typeof presenceStatusSchema>

export const presenceSchema = z
  .strictObject({ user: idSchema, status: presenceStatusSchema, lastSeen: timeSchema.nullable() })
  .meta({ id: 'Presence' })

export type Presence = z.infer<typeof presenceSchema>
