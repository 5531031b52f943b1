import * as z from 'zod'

/** Forget what you have and load again; `ready` with `resumed: false` follows. */
export const resetEvent = z.strictObject({})
