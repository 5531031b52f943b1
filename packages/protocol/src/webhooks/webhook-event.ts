/** Content of a webhook: one change of one conversation's log. */
import * as z from 'zod'
import { type ChangeType, changeFields, sentChangeSchema } from '../objects/change.ts'
import { idSchema } from '../values/id.ts'
import { timeSchema } from '../values/seq.ts'

export type WebhookType = Exclude<ChangeType, 'skip'>

/** Types of change that an endpoint can subscribe to. */
export const webhookTypes = (Object.keys(changeFields) as ChangeType[]).filter((type) => type !== 'skip')

export const webhookEventSchema = z
  .strictObject({
    /**
     * One of `webhookTypes`, or a type of a later version. An endpoint subscribed to all types must
     * skip types it does not know.
     */
    type: z.string(),
    /** Time of the change, by the database's clock. */
    timestamp: timeSchema,
    data: z.strictObject({ conversation: idSchema, change: sentChangeSchema }),
  })
  .meta({ id: 'WebhookEvent' })

export type WebhookEvent = z.infer<typeof webhookEventSchema>
