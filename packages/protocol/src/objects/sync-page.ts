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
     * Whether the changes are left out, because the client missed too many or the user joined after
     * its cursor. `messages` is then the newest page; the client loads older pages on demand.
     */
    limited: z.boolean().optional(),
    /**
     * Whether the user has left the conversation; `changes` then contains only the `member.left`
     * change.
     */
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
    /**
     * Epoch: an identifier of the database's history, which changes at a failover and when a backup
     * is restored.
     */
    epoch: z.string(),
    cursor: cursorSchema,
    /**
     * Whether the client must discard its data, because its cursor is unreadable or of another
     * epoch. This page is then the first page of a new load.
     */
    reset: z.boolean().optional(),
    /** Whether more changes follow; request them with `cursor`. */
    more: z.boolean(),
    conversations: z.array(syncEntrySchema),
  })
  .meta({ id: 'SyncPage' })

export type SyncPage = z.infer<typeof syncPageSchema>
