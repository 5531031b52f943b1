/**
 * The changes that a client missed: the response of `sync`, and the content that a resume replays.
 */
import * as z from 'zod'
import { idSchema } from '../values/id.ts'
import { cursorSchema, seqOrZeroSchema } from '../values/seq.ts'
import { sentChangeSchema } from './change.ts'
import { pageMessageSchema } from './message.ts'

export const syncEntrySchema = z
  .strictObject({
    conversation: idSchema,
    /** Consecutive changes in seq order. Empty when `limited`. */
    changes: z.array(sentChangeSchema),
    /**
     * Whether the changes are left out because the client missed too many, or joined since.
     * `messages` is then the newest page; older messages come by paging back.
     */
    limited: z.boolean().optional(),
    /** Whether the user has left; `changes` then holds only the `member.left` change. */
    left: z.boolean().optional(),
    seq: seqOrZeroSchema,
    readSeq: seqOrZeroSchema,
    unread: z.int().min(0),
    /** The newest page in seq order; only with `limited`. */
    messages: z.array(pageMessageSchema).optional(),
  })
  .meta({ id: 'SyncEntry' })

export type SyncEntry = z.infer<typeof syncEntrySchema>

export const syncPageSchema = z
  .strictObject({
    /** Epoch: the identity of this database's history. */
    epoch: z.string(),
    cursor: cursorSchema,
    /**
     * Whether the client must discard its data: this is a first load (a foreign epoch, or an
     * unreadable cursor).
     */
    reset: z.boolean().optional(),
    /** Whether more changes follow; request them with `cursor`. */
    more: z.boolean(),
    conversations: z.array(syncEntrySchema),
  })
  .meta({ id: 'SyncPage' })

export type SyncPage = z.infer<typeof syncPageSchema>
