import * as z from 'zod'
import { idSchema } from '../values/id.ts'
import { timeSchema } from '../values/seq.ts'

/** A session: one signed-in device. */
export const sessionSchema = z
  .strictObject({
    id: idSchema,
    createdAt: timeSchema,
    lastUsedAt: timeSchema,
    userAgent: z.string().nullable(),
    /** Whether this is the session that sent the request. */
    current: z.boolean(),
  })
  .meta({ id: 'Session' })

export type Session = z.infer<typeof sessionSchema>
