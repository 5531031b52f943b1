/** What a webhook carries: one change of one conversation's log. */
import * as z from 'zod'
import { sentChangeSchema } from '../objects/change.ts'
import { idSchema } from '../values/id.ts'
import { timeSchema } from '../values/seq.ts'

/** The kinds of change that an endpoint can ask for. */
export const webhookTypes = [
  'message.created',
  'message.edited',
  'message.deleted',
  'reaction.added',
  'reaction.removed',
  'member.joined',
  'member.left',
  'member.updated',
  'conversation.created',
  'conversation.updated',
] as const

export const webhookEventSchema = z
  .strictObject({
    /** One of the kinds above, or one of a later version: an endpoint that asked for all of them skips what it does not know. */
    type: z.string(),
    /** When the change was made, by the database's time. */
    timestamp: timeSchema,
    data: z.strictObject({ conversation: idSchema, change: sentChangeSchema }),
  })
  .meta({ id: 'WebhookEvent' })

export type WebhookEvent = z.infer<typeof webhookEventSchema>
export type WebhookType = (typeof webhookTypes)[number]
