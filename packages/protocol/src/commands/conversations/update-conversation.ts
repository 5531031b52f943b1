import * as z from 'zod'
import { conversationSchema } from '../../objects/conversation.ts'
import { idSchema } from '../../values/id.ts'
import { nameSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

export const updateConversation = defineCommand({
  name: 'update-conversation',
  summary: 'Rename a group or channel',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, name: nameSchema }),
  result: z.strictObject({ conversation: conversationSchema }),
  route: { method: 'PATCH', path: '/v1/conversations/{conversation}', status: 200 },
})
