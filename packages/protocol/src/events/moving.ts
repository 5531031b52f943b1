import * as z from 'zod'

/**
 * Asks the client to reconnect to another server within `inMs` milliseconds, because this server is
 * stopping.
 */
export const movingEvent = z.strictObject({ inMs: z.int().min(0) })
