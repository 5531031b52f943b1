import * as z from 'zod'
import { limits } from '../../limits.ts'
import { conversationKindSchema, conversationSchema } from '../../objects/conversation.ts'
import { clientIdSchema, idSchema } from '../../values/id.ts'
import { nameSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Creates a conversation; the caller becomes the owner. `direct` takes exactly one other member and
 * no name, and returns the existing conversation if there is one. `channel` needs a name. With a
 * `clientId`, a retry creates no second conversation (rule IDEM2): the same request returns the
 * first conversation with `duplicate: true`; a different request with the same id fails with
 * `conflict`.
 */
export const createConversation = defineCommand({
  name: 'create-conversation',
  summary: 'Create a direct conversation, a group or a channel',
  auth: 'session',
  input: z.strictObject({
    kind: conversationKindSchema,
    name: nameSchema.optional(),
    members: z.array(idSchema).max(limits.initialMembersMax).default([]),
    clientId: clientIdSchema.optional(),
  }),
  result: z.strictObject({
    conversation: conversationSchema,
    /**
     * Whether the conversation already existed: the direct one of these two users, or the one
     * created with this `clientId`. The response status is then 200.
     */
    duplicate: z.literal(true).optional(),
  }),
  route: { method: 'POST', path: '/v1/conversations', status: 201 },
})
