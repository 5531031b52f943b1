import * as z from 'zod'

/** This server is leaving: reconnect within that time, to another one. */
export const movingEvent = z.strictObject({ inMs: z.int().min(0) })
