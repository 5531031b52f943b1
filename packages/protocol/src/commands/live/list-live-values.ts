import * as z from 'zod'
import { liveValueSchema } from '../../objects/live-value.ts'
import { idSchema } from '../../values/id.ts'
import { defineCommand } from '../define-command.ts'

export const listLiveValues = defineCommand({
  name: 'list-live-values',
  summary: 'The live values of a conversation that have not expired',
  auth: 'session',
  input: z.strictObject({ conversation: idSchema }),
  result: z.strictObject({ values: z.array(liveValueSchema) }),
  route: { method: 'GET', path: '/v1/conversations/{conversation}/live', status: 200 },
})
