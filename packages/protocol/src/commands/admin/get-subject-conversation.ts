import * as z from 'zod'
import { conversationSchema, subjectIdSchema, subjectTypeSchema } from '../../objects/conversation.ts'
import { defineCommand } from '../define-command.ts'

/** Reads the conversation of a subject (rule SUB1). Creates nothing and adds no member. */
export const getSubjectConversation = defineCommand({
  name: 'get-subject-conversation',
  summary: 'The conversation of an order, a listing or another subject',
  auth: 'key',
  scope: 'read',
  input: z.strictObject({ type: subjectTypeSchema, id: subjectIdSchema }),
  result: z.strictObject({ conversation: conversationSchema }),
  route: { method: 'GET', path: '/v1/admin/subjects/{type}/{id}/conversation', status: 200 },
})
