import { syncEntrySchema } from '../objects/sync-page.ts'

/**
 * Comes before a conversation's changes when a resume is limited, when the user was added, has left, or moved the read
 * marker on another device.
 */
export const conversationEvent = syncEntrySchema.omit({ changes: true })
