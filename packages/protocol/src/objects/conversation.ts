import * as z from 'zod'
import { limits } from '../limits.ts'
import { idSchema } from '../values/id.ts'
import { jsonSchema } from '../values/json.ts'
import { seqOrZeroSchema, seqSchema } from '../values/seq.ts'
import { nameSchema } from '../values/text.ts'
import { commonFields } from './common-fields.ts'
import { pageMessageSchema } from './message.ts'
import { userSchema } from './user.ts'

/**
 * Kinds of conversation. `direct`: two users. `group`: by invitation. `channel`: public, any user
 * may join.
 */
export const conversationKindSchema = z.enum(['direct', 'group', 'channel'])
export type ConversationKind = z.infer<typeof conversationKindSchema>

export const roleSchema = z.enum(['owner', 'moderator', 'member'])
export type Role = z.infer<typeof roleSchema>

export const memberSchema = z
  .strictObject({
    user: userSchema,
    role: roleSchema,
    joinedSeq: seqSchema,
    /** Seq up to which this member has read. */
    readSeq: seqOrZeroSchema,
  })
  .meta({ id: 'Member' })

export type Member = z.infer<typeof memberSchema>

export const subjectTypeSchema = z.string().regex(/^[a-z0-9-]{1,32}$/)
/** Id of a subject in the integrator's system. It is a segment of a path, so it is never `.` or `..`. */
export const subjectIdSchema = z
  .string()
  .min(1)
  .max(128)
  .refine((text) => text.isWellFormed() && !/\p{Cc}|^\.{1,2}$/u.test(text), {
    error: 'contains control characters or lone surrogates, or is . or ..',
  })

/** Fields that describe a subject. Clients show `url` as a link, so it has no other scheme. */
export const subjectFields = {
  title: nameSchema.nullable(),
  url: z
    .string()
    .max(limits.avatarMaxChars)
    .regex(/^https?:\/\/[^\s"'<>\\]+$/)
    .nullable(),
  data: jsonSchema(limits.dataMaxBytes).nullable(),
}

/** Object of the integrator that a conversation is about, for example an order or a listing. */
export const subjectSchema = z
  .strictObject({ type: subjectTypeSchema, id: subjectIdSchema, ...subjectFields })
  .meta({ id: 'Subject' })

export type Subject = z.infer<typeof subjectSchema>

/**
 * A conversation as one user sees it. `role` is null when the user is not a member, which is
 * possible only for a public channel, and for an API key that looks up a subject.
 */
export const conversationSchema = z
  .strictObject({
    id: idSchema,
    kind: conversationKindSchema,
    /** Null for direct conversations: clients show the other user's name instead. */
    name: nameSchema.nullable(),
    /** Seq of the newest change in the log of the conversation. */
    seq: seqOrZeroSchema,
    readSeq: seqOrZeroSchema,
    /** Number of undeleted messages by other users after the caller's `readSeq`; stops at 1000. */
    unread: z.int().min(0),
    lastMessage: pageMessageSchema.nullable(),
    /** The first members of the conversation, at most 5. For a direct conversation, both users. */
    members: z.array(memberSchema),
    memberCount: z.int().min(0),
    role: roleSchema.nullable(),
    /** Absent for conversations without a subject. */
    subject: subjectSchema.optional(),
  })
  .meta({ id: 'Conversation' })

export type Conversation = z.infer<typeof conversationSchema>

const conversationFacts = z.strictObject({
  id: idSchema,
  kind: conversationKindSchema,
  name: nameSchema.nullable(),
  /** Absent if the conversation has no subject, or if this change did not concern it. */
  subject: subjectSchema.optional(),
})

/** Types of change to a conversation and its members. */
export const conversationChanges = [
  z.strictObject({ ...commonFields, type: z.literal('member.joined'), user: idSchema, role: roleSchema }),
  z.strictObject({ ...commonFields, type: z.literal('member.left'), user: idSchema, role: roleSchema }),
  z.strictObject({ ...commonFields, type: z.literal('member.updated'), user: idSchema, role: roleSchema }),
  z.strictObject({ ...commonFields, type: z.literal('conversation.created'), conversation: conversationFacts }),
  z.strictObject({ ...commonFields, type: z.literal('conversation.updated'), conversation: conversationFacts }),
] as const
