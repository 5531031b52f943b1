import * as z from 'zod'
import { cardChangeFields, cardSchema, cardVersionSchema, refuseLargeCard } from '../../objects/card.ts'
import { idSchema } from '../../values/id.ts'
import { seqSchema } from '../../values/seq.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Gives a card its next version. A request based on an older version is `stale`, with the current
 * card (rule CARD1). Repeating a request whose change is the current version changes nothing.
 */
export const updateCard = defineCommand({
  name: 'update-card',
  summary: 'Change the state of a card',
  auth: 'key',
  scope: 'write',
  input: z
    .strictObject({
      conversation: idSchema,
      seq: seqSchema,
      /** Version of the card that the change is based on. */
      version: cardVersionSchema,
      ...cardChangeFields,
    })
    .superRefine(({ state, fields, actions }, context) =>
      refuseLargeCard({ state, fields: fields ?? null, actions: actions ?? null }, context),
    ),
  result: z.strictObject({
    /** Seq of the change `card.updated`. For a repeated request, maybe of a later edit of the text. */
    seq: seqSchema,
    card: cardSchema,
  }),
  route: { method: 'PATCH', path: '/v1/admin/conversations/{conversation}/messages/{seq}/card', status: 200 },
})
