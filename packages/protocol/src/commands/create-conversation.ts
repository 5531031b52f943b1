import * as z from 'zod'
import { limits } from '../limits.ts'
import { conversationKindSchema, conversationSchema } from '../objects/conversation.ts'
import { clientIdSchema, idSchema } from '../values/id.ts'
import { nameSchema } from '../values/text.ts'
import { defineCommand } from './define-command.ts'

/**
 * `direct` names exactly one other member and no name, and answers with the one that exists; `channel` needs a name.
 * The asker becomes the owner. With a `clientId` a retry makes no second conversation (rule IDEM2): the same request gets
 * the first conversation with `duplicate: true`; another request under the same id is `conflict`.
 */
export const createConversation = defineCommand({
  name: 'create-conversation',
  summary: 'Begin a direct conversation, a group or a channel',
  auth: 'session',
  input: z.strictObject({
    kind: conversationKindSchema,
    name: nameSchema.optional(),
    members: z.array(idSchema).max(limits.initialMembersMax).default([]),
    clientId: clientIdSchema.optional(),
  }),
  result: z.strictObject({
    conversation: conversationSchema,
    /** The conversation of the pair, or of this `clientId`, was there already; answered with 200. */
    duplicate: z.literal(true).optional(),
  }),
  route: { method: 'POST', path: '/v1/conversations', status: 201 },
})
