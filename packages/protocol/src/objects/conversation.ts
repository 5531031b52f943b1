import * as z from 'zod'
import { idSchema } from '../values/id.ts'
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

/**
 * A conversation as one user sees it. `role` is null when the user is not a member, which is
 * possible only for a public channel.
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
  })
  .meta({ id: 'Conversation' })

export type Conversation = z.infer<typeof conversationSchema>

const conversationFacts = z.strictObject({ id: idSchema, kind: conversationKindSchema, name: nameSchema.nullable() })

/** Types of change to a conversation and its members. */
export const conversationChanges = [
  z.strictObject({ ...commonFields, type: z.literal('member.joined'), user: idSchema, role: roleSchema }),
  z.strictObject({ ...commonFields, type: z.literal('member.left'), user: idSchema, role: roleSchema }),
  z.strictObject({ ...commonFields, type: z.literal('member.updated'), user: idSchema, role: roleSchema }),
  z.strictObject({ ...commonFields, type: z.literal('conversation.created'), conversation: conversationFacts }),
  z.strictObject({ ...commonFields, type: z.literal('conversation.updated'), conversation: conversationFacts }),
] as const
