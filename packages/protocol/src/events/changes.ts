import * as z from 'zod'
import { limits } from '../limits.ts'
import { sentChangeSchema } from '../objects/change.ts'
import { idSchema } from '../values/id.ts'

/**
 * Consecutive changes of one conversation, in order. A connection never receives a seq twice (rule
 * NODE1).
 */
export const changesEvent = z.strictObject({
  conversation: idSchema,
  changes: z.array(sentChangeSchema).min(1).max(limits.changesPerEventMax),
})
