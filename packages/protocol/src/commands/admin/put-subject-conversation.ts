import * as z from 'zod'
import { limits } from '../../limits.ts'
import { conversationSchema, subjectFields, subjectIdSchema, subjectTypeSchema } from '../../objects/conversation.ts'
import { externalIdSchema } from '../../objects/user.ts'
import { nameSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Finds or creates the conversation of a subject (rule SUB1). In an existing conversation, missing
 * members are added, no member is removed, and title, url and data are replaced.
 */
export const putSubjectConversation = defineCommand({
  name: 'put-subject-conversation',
  summary: 'Find or create the conversation of an order, a listing or another subject',
  auth: 'key',
  scope: 'write',
  input: z.strictObject({
    type: subjectTypeSchema,
    id: subjectIdSchema,
    kind: z.enum(['group', 'channel']),
    name: nameSchema.optional(),
    title: subjectFields.title.optional(),
    url: subjectFields.url.optional(),
    data: subjectFields.data.optional(),
    members: z.array(externalIdSchema).max(limits.initialMembersMax),
  }),
  result: z.strictObject({ conversation: conversationSchema, duplicate: z.literal(true).optional() }),
  route: { method: 'PUT', path: '/v1/admin/subjects/{type}/{id}/conversation', status: 201 },
})
