import * as z from 'zod'

/** Why a connection is closed, when it is not an error of a request. */
export const closingCodeSchema = z.enum(['slow', 'revoked', 'rate-limited', 'invalid', 'unavailable', 'stopping'])

/** The last event before the server disconnects. `retry: later` asks to reconnect, `never` says that it is of no use. */
export const closingEvent = z.strictObject({
  code: closingCodeSchema,
  message: z.string(),
  retry: z.enum(['never', 'later']),
})

export type ClosingCode = z.infer<typeof closingCodeSchema>
