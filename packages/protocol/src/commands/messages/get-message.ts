import * as z from 'zod'
import { pageMessageSchema } from '../../objects/message.ts'
import { idSchema } from '../../values/id.ts'
import { seqSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

export const getMessage = defineCommand({
  name: 'get-message',
  summary: 'One message',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema, seq: seqSchema }),
  result: z.strictObject({ message: pageMessageSchema }),
  route: { method: 'GET', path: '/v1/conversations/{conversation}/messages/{seq}', status: 200 },
})
