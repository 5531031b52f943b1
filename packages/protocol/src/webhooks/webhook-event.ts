/** What a webhook carries: one change of one conversation's log. */
import * as z from 'zod'
import { changeSchema } from '../objects/change.ts'
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
    type: z.enum(webhookTypes),
    /** When the change was made, by the database's time. */
    timestamp: timeSchema,
    data: z.strictObject({ conversation: idSchema, change: changeSchema }),
  })
  .meta({ id: 'WebhookEvent' })

export type WebhookEvent = z.infer<typeof webhookEventSchema>
export type WebhookType = (typeof webhookTypes)[number]
