import { syncEntrySchema } from '../objects/sync-page.ts'

/**
 * State of a conversation. The server sends it when the user was added, has left, or moved the read
 * marker on another device. It also sends it when a resume leaves out missed changes of the
 * conversation (`limited`): first this event, then the later changes.
 */
export const conversationEvent = syncEntrySchema.omit({ changes: true })
