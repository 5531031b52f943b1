import { syncEntrySchema } from '../objects/sync-page.ts'

/**
 * State of a conversation. Sent before its changes when a resume is limited, and when the user was
 * added, has left, or moved the read marker on another device.
 */
export const conversationEvent = syncEntrySchema.omit({ changes: true })
