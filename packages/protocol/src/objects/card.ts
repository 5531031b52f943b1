/**
 * Cards: messages of the integrator with a state that only its back end decides, and with actions
 * that members take. A card is signed, so that a client can prove its origin (rule CARD2).
 */
import * as z from 'zod'
import { limits } from '../limits.ts'
import { idSchema } from '../values/id.ts'
import { findJsonFault } from '../values/json.ts'
import { seqSchema } from '../values/seq.ts'
import { isOneLine, nameSchema, textSchema } from '../values/text.ts'
import { externalIdSchema } from './user.ts'

const cardNameSchema = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,31}$/)
const cardTitleSchema = nameSchema
const poisonousNames: readonly string[] = ['__proto__', 'constructor', 'prototype']

/** Fields of a card, as names and values that clients show in this order. */
const cardFieldsSchema = z
  .record(z.string(), textSchema(0, limits.cardFieldMaxChars))
  .refine((fields) => Object.keys(fields).length <= limits.cardFieldsMax, { error: 'has too many fields' })
  .refine(
    (fields) =>
      Object.keys(fields).every(
        (name) =>
          name.length > 0 &&
          name.length <= limits.cardFieldNameMaxChars &&
          name.isWellFormed() &&
          isOneLine(name) &&
          !poisonousNames.includes(name),
      ),
    { error: 'has a field whose name is empty, too long or not one line' },
  )

const actionFields = { id: cardNameSchema, label: nameSchema }

function hasDistinctIds(actions: readonly { readonly id: string }[]): boolean {
  return new Set(actions.map(({ id }) => id)).size === actions.length
}

const sameIds = { error: 'has two actions with the same id' }

const cardActionsInputSchema = z
  .array(
    z.strictObject({
      ...actionFields,
      /** External ids of the users that may act. Without it, every member may. */
      by: z.array(externalIdSchema).min(1).max(limits.cardActorsMax).optional(),
    }),
  )
  .max(limits.cardActionsMax)
  .refine(hasDistinctIds, sameIds)

/** Refuses a card, or a change of one, that is larger than a card may be. */
export function refuseLargeCard(value: unknown, context: z.core.$RefinementCtx): void {
  const fault = findJsonFault(value, limits.cardMaxBytes)
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
}

/** Card in a request of an API key. A card without actions is final. */
export const cardInputSchema = z
  .strictObject({
    type: cardNameSchema,
    title: cardTitleSchema,
    fields: cardFieldsSchema.optional(),
    actions: cardActionsInputSchema.optional(),
    state: cardNameSchema,
  })
  .superRefine(refuseLargeCard)
  .meta({ id: 'CardInput' })

export type CardInput = z.infer<typeof cardInputSchema>

/** Fields that an API key may change. Fields that are left out keep their value. */
export const cardChangeFields = {
  state: cardNameSchema,
  fields: cardFieldsSchema.optional(),
  actions: cardActionsInputSchema.optional(),
}

export const actionIdSchema = cardNameSchema
/** Number of a state of a card: 1, 2, 3 … Only a change by an API key raises it. */
export const cardVersionSchema = z.int().min(1).max(limits.cardVersionMax)

/** Act of a member on a card: the seq of the change `card.acted`, the action and the user. */
const cardActSchema = z
  .strictObject({ seq: seqSchema, action: actionIdSchema, actor: idSchema })
  .meta({ id: 'CardAct' })

/** Card of a message, the same for every member. */
export const cardSchema = z
  .strictObject({
    version: cardVersionSchema,
    type: cardNameSchema,
    title: cardTitleSchema,
    fields: cardFieldsSchema,
    actions: z
      .array(
        z
          .strictObject({
            ...actionFields,
            /** User ids of the members that may act. Absent if every member may. */
            by: z.array(idSchema).optional(),
          })
          // Without a name, openapi-generator also makes a type of `acted`, which does not compile.
          .meta({ id: 'CardAction' }),
      )
      .max(limits.cardActionsMax),
    state: cardNameSchema,
    /** First act on this version of the card (rule CARD1). */
    acted: cardActSchema.nullable(),
    /** Compact JWS over the card, its conversation and its `clientId` (rule CARD2). */
    jws: z.string(),
  })
  .meta({ id: 'Card' })

export type Card = z.infer<typeof cardSchema>

/** Payload of the JWS of a card. `card` is the `clientId` of its message. */
export const cardPayloadSchema = z
  .strictObject({
    iss: z.string(),
    conversation: idSchema,
    card: idSchema,
    ...cardSchema.omit({ acted: true, jws: true }).shape,
    /** Time of the signature, in seconds since 1970. */
    iat: z.int(),
  })
  .meta({ id: 'CardPayload' })

export type CardPayload = z.infer<typeof cardPayloadSchema>

/** Public key that cards are signed with, as a JWK with its period. */
export const cardKeySchema = z
  .strictObject({
    kty: z.literal('OKP'),
    crv: z.literal('Ed25519'),
    x: z.string(),
    kid: z.string(),
    alg: z.literal('EdDSA'),
    use: z.literal('sig'),
    validFrom: z.string(),
    /** End of the period in which the key signed. Null for the key in use. */
    validUntil: z.string().nullable(),
  })
  .meta({ id: 'CardKey' })

export type CardKey = z.infer<typeof cardKeySchema>
