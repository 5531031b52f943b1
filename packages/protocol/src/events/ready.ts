import * as z from 'zod'
import { sessionSchema } from '../objects/session.ts'
import { userSchema } from '../objects/user.ts'
import { cursorSchema } from '../values/seq.ts'

/**
 * Sent once the connection is up to date: all changes before `cursor` were sent, and later ones
 * will follow.
 */
export const readyEvent = z.strictObject({
  user: userSchema,
  session: sessionSchema,
  /** Name of the server that sent the event. */
  server: z.string(),
  /**
   * Epoch: an identifier of the database's history, which changes at a failover and when a backup
   * is restored.
   */
  epoch: z.string(),
  cursor: cursorSchema,
  /** Whether the connection resumed from its cursor. False without a cursor, or after `reset`. */
  resumed: z.boolean(),
})
