import { syncEntrySchema } from '../objects/sync-page.ts'

/**
 * State of a conversation. Sent when a resume skips changes of the conversation (`limited`), before
 * its later changes; and when the user was added, has left, or moved the read marker on another
 * device.
 */
export const conversationEvent = syncEntrySchema.omit({ changes: true })
