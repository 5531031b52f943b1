/** What was missed: the answer of `sync`, and what a resume replays. */
import * as z from 'zod'
import { idSchema } from '../values/id.ts'
import { cursorSchema, seqOrZeroSchema } from '../values/seq.ts'
import { sentChangeSchema } from './change.ts'
import { pageMessageSchema } from './message.ts'

export const syncEntrySchema = z
  .strictObject({
    conversation: idSchema,
    /** Consecutive, in seq order. Empty when `limited`. */
    changes: z.array(sentChangeSchema),
    /** Too much was missed, or it was joined since: `messages` is the newest page, page back for the rest. */
    limited: z.boolean().optional(),
    /** The user is no longer a member; `changes` holds only the change that says so. */
    left: z.boolean().optional(),
    seq: seqOrZeroSchema,
    readSeq: seqOrZeroSchema,
    unread: z.int().min(0),
    /** With `limited`: the newest page, in seq order. */
    messages: z.array(pageMessageSchema).optional(),
  })
  .meta({ id: 'SyncEntry' })

export type SyncEntry = z.infer<typeof syncEntrySchema>

export const syncPageSchema = z
  .strictObject({
    /** The identity of this database's history. */
    epoch: z.string(),
    cursor: cursorSchema,
    /** Forget what you have: this is a first load (a foreign epoch, or an unreadable cursor). */
    reset: z.boolean().optional(),
    /** Ask again with `cursor` for the rest. */
    more: z.boolean(),
    conversations: z.array(syncEntrySchema),
  })
  .meta({ id: 'SyncPage' })

export type SyncPage = z.infer<typeof syncPageSchema>
