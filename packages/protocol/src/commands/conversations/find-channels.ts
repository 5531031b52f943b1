import * as z from 'zod'
import { limits } from '../../limits.ts'
import { conversationSchema } from '../../objects/conversation.ts'
import { pageLimitSchema } from '../../values/seq.ts'
import { composedTextSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

export const findChannels = defineCommand({
  name: 'find-channels',
  summary: 'Public channels whose name contains `q`',
  auth: 'session',
  input: z.strictObject({ q: composedTextSchema(0, limits.queryMaxChars).optional(), limit: pageLimitSchema }),
  result: z.strictObject({ conversations: z.array(conversationSchema) }),
  route: { method: 'GET', path: '/v1/channels', status: 200 },
})
