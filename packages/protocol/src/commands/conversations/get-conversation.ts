import * as z from 'zod'
import { conversationSchema } from '../../objects/conversation.ts'
import { idSchema } from '../../values/id.ts'
import { defineCommand } from '../define-command.ts'

export const getConversation = defineCommand({
  name: 'get-conversation',
  summary: 'One conversation, as I see it',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema }),
  result: z.strictObject({ conversation: conversationSchema }),
  route: { method: 'GET', path: '/v1/conversations/{conversation}', status: 200 },
})
