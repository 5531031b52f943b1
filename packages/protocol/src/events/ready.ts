import * as z from 'zod'
import { sessionSchema } from '../objects/session.ts'
import { userSchema } from '../objects/user.ts'
import { cursorSchema } from '../values/seq.ts'

/** Everything since the cursor has been sent, and everything after it will be. */
export const readyEvent = z.strictObject({
  user: userSchema,
  session: sessionSchema,
  /** The server's name. */
  server: z.string(),
  /** The identity of this database's history. */
  epoch: z.string(),
  cursor: cursorSchema,
  /** False without a cursor, or after `reset`. */
  resumed: z.boolean(),
})
