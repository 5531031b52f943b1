import * as z from 'zod'
import { cursorSchema } from '../values/seq.ts'

/** Confirms that every change before the cursor was sent on this connection (rule CP1). */
export const checkpointEvent = z.strictObject({ cursor: cursorSchema })
