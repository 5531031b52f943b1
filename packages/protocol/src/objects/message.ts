import * as z from 'zod'
import { idSchema, clientIdSchema } from '../values/id.ts'
import { emojiSchema } from '../values/emoji.ts'
import { jsonSchema } from '../values/json.ts'
import { limits } from '../limits.ts'
import { seqSchema, timeSchema } from '../values/seq.ts'
import { messageTextSchema } from '../values/text.ts'
import { actionIdSchema, cardSchema } from './card.ts'
import { commonFields } from './common-fields.ts'

/** One message of a conversation, the same for every member. */
export const messageSchema = z
  .strictObject({
    conversation: idSchema,
    /**
     * Seq of the change that created the message. Together with `conversation` it identifies the
     * message.
     */
    seq: seqSchema,
    /**
     * Seq of the last change to the message. Of two copies, the one with the higher version wins
     * (rule CLI1).
     */
    version: seqSchema,
    clientId: clientIdSchema,
    /** User id of the sender. */
    sender: idSchema,
    /** Markdown text; empty when the message is deleted. */
    text: messageTextSchema,
    /** Seq of the message that this message replies to. */
    replyTo: seqSchema.nullable(),
    attachments: z.array(idSchema),
    data: jsonSchema(limits.dataMaxBytes).nullable(),
    createdAt: timeSchema,
    editedAt: timeSchema.nullable(),
    deletedAt: timeSchema.nullable(),
    /** Absent for messages without a card. */
    card: cardSchema.optional(),
  })
  .meta({ id: 'Message' })

export type Message = z.infer<typeof messageSchema>

/**
 * Types of change to a message. The field `message` contains the message after the change. It must
 * be the last field, because the server's caches replace the end of the encoded JSON.
 */
export const messageChanges = [
  z.strictObject({ ...commonFields, type: z.literal('message.created'), message: messageSchema }),
  z.strictObject({ ...commonFields, type: z.literal('message.edited'), message: messageSchema }),
  z.strictObject({ ...commonFields, type: z.literal('message.deleted'), message: messageSchema }),
  z.strictObject({ ...commonFields, type: z.literal('card.updated'), message: messageSchema }),
  /**
   * The first act on a version of a card. It moves no version: it applies to a copy of the message
   * whose `version` is below the seq of this change.
   */
  z.strictObject({ ...commonFields, type: z.literal('card.acted'), target: seqSchema, action: actionIdSchema }),
  z.strictObject({ ...commonFields, type: z.literal('reaction.added'), target: seqSchema, emoji: emojiSchema }),
  z.strictObject({ ...commonFields, type: z.literal('reaction.removed'), target: seqSchema, emoji: emojiSchema }),
] as const

export const reactionCountSchema = z
  .strictObject({ emoji: emojiSchema, count: z.int().min(1), mine: z.boolean() })
  .meta({ id: 'ReactionCount' })

export type ReactionCount = z.infer<typeof reactionCountSchema>

/** A message as a page contains it, with its reactions at the `seq` of the page. */
export const pageMessageSchema = messageSchema
  .extend({ reactions: z.array(reactionCountSchema) })
  .meta({ id: 'PageMessage' })

export type PageMessage = z.infer<typeof pageMessageSchema>

export const messagePageSchema = z
  .strictObject({
    /** Messages in seq order. */
    messages: z.array(pageMessageSchema),
    /** Seq of the newest change that is included in the page. */
    seq: z.int().min(0),
    hasBefore: z.boolean(),
    hasAfter: z.boolean(),
  })
  .meta({ id: 'MessagePage' })

export type MessagePage = z.infer<typeof messagePageSchema>
