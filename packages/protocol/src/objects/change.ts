/**
 * One durable event in a conversation's log. A client applies each change exactly once, in seq
 * order (rule CLI1).
 */
import * as z from 'zod'
import { idSchema } from '../values/id.ts'
import { seqSchema, timeSchema } from '../values/seq.ts'
import { nameSchema } from '../values/text.ts'
import { conversationKindSchema, roleSchema } from './conversation.ts'
import { emojiSchema } from '../values/emoji.ts'
import { messageSchema } from './message.ts'

const common = {
  seq: seqSchema,
  at: timeSchema,
  /** The user who made the change. */
  actor: idSchema,
}

const conversationFacts = z.strictObject({ id: idSchema, kind: conversationKindSchema, name: nameSchema.nullable() })

export const changeSchema = z
  .discriminatedUnion('type', [
    z.strictObject({ ...common, type: z.literal('message.created'), message: messageSchema }),
    z.strictObject({ ...common, type: z.literal('message.edited'), message: messageSchema }),
    z.strictObject({ ...common, type: z.literal('message.deleted'), message: messageSchema }),
    z.strictObject({ ...common, type: z.literal('reaction.added'), target: seqSchema, emoji: emojiSchema }),
    z.strictObject({ ...common, type: z.literal('reaction.removed'), target: seqSchema, emoji: emojiSchema }),
    z.strictObject({ ...common, type: z.literal('member.joined'), user: idSchema, role: roleSchema }),
    z.strictObject({ ...common, type: z.literal('member.left'), user: idSchema, role: roleSchema }),
    z.strictObject({ ...common, type: z.literal('member.updated'), user: idSchema, role: roleSchema }),
    z.strictObject({ ...common, type: z.literal('conversation.created'), conversation: conversationFacts }),
    z.strictObject({ ...common, type: z.literal('conversation.updated'), conversation: conversationFacts }),
    /** Marks seqs that will never have a change: retention or erasure removed them. */
    z.strictObject({ seq: seqSchema, type: z.literal('skip'), from: seqSchema, to: seqSchema }),
  ])
  .meta({ id: 'Change' })

export type Change = z.infer<typeof changeSchema>
export type ChangeType = Change['type']

const knownTypes: ReadonlySet<string> = new Set(changeSchema.options.flatMap(({ shape }) => [...shape.type.values]))

/**
 * A change of an unknown type, written by a later version. It fills its seq like every other
 * change: a client advances past it and shows nothing. A server that does not know the type either
 * sends exactly these fields.
 */
export const otherChangeSchema = z
  .looseObject({ ...common, type: z.string().refine((type) => !knownTypes.has(type)) })
  .meta({ id: 'OtherChange' })

export interface OtherChange {
  readonly seq: number
  readonly at: string
  readonly actor: string
  readonly type: string
}

/**
 * A change as a server sends it. The static type contains only the known changes, so that a
 * `switch` over them stays exhaustive. A client must filter out unknown changes first, with
 * {@link isKnownChange}.
 */
export const sentChangeSchema = z.union([changeSchema, otherChangeSchema]) as unknown as typeof changeSchema

/** Returns whether this version knows the type of a change. */
export function isKnownChange(change: Change | OtherChange): change is Change {
  return knownTypes.has(change.type)
}
