/**
 * Question and answer of the pre-send hook (rules HOOK1 to HOOK3). The question is a POST, signed
 * like a webhook; the answer is JSON with status 200.
 */
import * as z from 'zod'
import { limits } from '../limits.ts'
import { subjectSchema } from '../objects/conversation.ts'
import { clientIdSchema, idSchema } from '../values/id.ts'
import { jsonSchema } from '../values/json.ts'
import { messageTextSchema } from '../values/text.ts'

export const hookLimits = {
  /** Maximum time from the connection to the end of the answer. */
  timeoutMs: 1_000,
  /** Maximum size of an answer. */
  answerMaxBytes: 65_536,
  /** Maximum length of the shown part of a reason, in UTF-16 code units. */
  reasonMaxChars: 200,
} as const

/** Question: may this message be stored, or this edit? */
export const hookQuestionSchema = z
  .strictObject({
    kind: z.enum(['send', 'edit']),
    conversation: idSchema,
    /** Subject of the conversation. Null if it has none. */
    subject: subjectSchema.nullable(),
    /** `externalId` is null for accounts that sign in with a password. */
    sender: z.strictObject({ id: idSchema, externalId: z.string().nullable() }),
    /** `clientId` of the message, also of an edited one. */
    clientId: clientIdSchema,
    /** Text that would be stored. */
    text: messageTextSchema,
    /** `data` of the message. An edit does not change it. */
    data: jsonSchema(limits.dataMaxBytes).nullable(),
  })
  .meta({ id: 'HookQuestion' })

export type HookQuestion = z.infer<typeof hookQuestionSchema>

/**
 * Answer. Text and data of a replacement must be valid for a message. Fields that are not listed
 * are ignored, and so is `data` in the answer to an edit.
 */
export const hookAnswerSchema = z
  .discriminatedUnion('action', [
    z.object({ action: z.literal('allow') }),
    z.object({
      action: z.literal('replace'),
      text: messageTextSchema.optional(),
      data: jsonSchema(limits.dataMaxBytes).nullable().optional(),
    }),
    z.object({ action: z.literal('refuse'), reason: z.string().optional() }),
  ])
  .meta({ id: 'HookAnswer' })

export type HookAnswer = z.infer<typeof hookAnswerSchema>
