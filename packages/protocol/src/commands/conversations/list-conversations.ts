import * as z from 'zod'
import { conversationSchema } from '../../objects/conversation.ts'
import { cursorSchema, pageLimitSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

export const listConversations = defineCommand({
  name: 'list-conversations',
  summary: 'My conversations, the most recently changed first',
  auth: 'session',
  input: z.strictObject({ limit: pageLimitSchema, page: cursorSchema.optional() }),
  result: z.strictObject({ conversations: z.array(conversationSchema), next: cursorSchema.optional() }),
  route: { method: 'GET', path: '/v1/conversations', status: 200 },
})
