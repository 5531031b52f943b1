import * as z from 'zod'
import { cursorSchema } from '../values/seq.ts'

/** Everything before the cursor has been sent on this connection (rule CP1). */
export const checkpointEvent = z.strictObject({ cursor: cursorSchema })
