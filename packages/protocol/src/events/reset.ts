import * as z from 'zod'

/** Asks the client to discard its data and load again; `ready` with `resumed: false` follows. */
export const resetEvent = z.strictObject({})
