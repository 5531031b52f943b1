import * as z from 'zod'
import { actionIdSchema, cardVersionSchema } from '../../objects/card.ts'
import { clientIdSchema, idSchema } from '../../values/id.ts'
import { seqSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Takes an action of a card. The first act on a version of a card is stored; any further one is
 * `stale` with the current card (rule CARD1). The same `clientId` gets the first response.
 */
export const actOnCard = defineCommand({
  name: 'act-on-card',
  summary: 'Take an action of a card',
  auth: 'session',
  input: z.strictObject({
    conversation: idSchema,
    seq: seqSchema,
    clientId: clientIdSchema,
    /** Version of the card that the member saw. */
    version: cardVersionSchema,
    action: actionIdSchema,
  }),
  result: z.strictObject({
    /** Seq of the change `card.acted`. */
    seq: seqSchema,
  }),
  route: { method: 'POST', path: '/v1/conversations/{conversation}/messages/{seq}/actions', status: 200 },
  event: { name: 'act', ack: z.strictObject({ seq: seqSchema }), toAck: ({ seq }) => ({ seq }) },
})
