/**
 * One durable event in a conversation's log. A client applies each change exactly once, in seq
 * order (rule CLI1). The types of change are declared next to the object that they change.
 */
import * as z from 'zod'
import { seqSchema } from '../values/seq.ts'
import { commonFields } from './common-fields.ts'
import { conversationChanges } from './conversation.ts'
import { messageChanges } from './message.ts'

export const changeSchema = z
  .discriminatedUnion('type', [
    ...messageChanges,
    ...conversationChanges,
    /** Marks the seqs `from` to `to`, whose changes retention or erasure has removed. */
    z.strictObject({ seq: seqSchema, type: z.literal('skip'), from: seqSchema, to: seqSchema }),
  ])
  .meta({ id: 'Change' })

export type Change = z.infer<typeof changeSchema>
export type ChangeType = Change['type']
type KeyOfEach<Each> = Each extends unknown ? keyof Each : never
/** Name of a field of any change. */
export type ChangeField = KeyOfEach<Change>

/** Names of the fields of each type of change, in the order in which they are sent. */
export const changeFields = Object.fromEntries(
  changeSchema.options.flatMap(({ shape }) => [...shape.type.values].map((type) => [type, Object.keys(shape)])),
) as unknown as { readonly [Type in ChangeType]: readonly ChangeField[] }

/** Returns whether this version knows a type of change. */
export function isChangeType(type: string): type is ChangeType {
  return Object.hasOwn(changeFields, type)
}

/** Types of change that contain the message in its form after the change. */
export type MessageChangeType = Extract<Change, { message: unknown }>['type']

export const messageChangeTypes = (Object.keys(changeFields) as ChangeType[]).filter(
  (type): type is MessageChangeType => changeFields[type].includes('message'),
)

/**
 * A change of an unknown type, written by a later version. Like every change it has its own seq: a
 * client moves its log position past it and shows nothing. An older server, which does not know the
 * type, sends exactly these fields.
 */
export const otherChangeSchema = z
  .looseObject({ ...commonFields, type: z.string().refine((type) => !isChangeType(type)) })
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
  return isChangeType(change.type)
}
