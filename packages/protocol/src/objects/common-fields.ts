/** Fields that every change has. */
import { idSchema } from '../values/id.ts'
import { seqSchema, timeSchema } from '../values/seq.ts'

export const commonFields = {
  seq: seqSchema,
  at: timeSchema,
  /** The user who made the change. */
  actor: idSchema,
}
