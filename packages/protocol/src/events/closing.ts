import * as z from 'zod'

/**
 * Reason why the server closes a connection. Refused requests have the codes of errors.ts instead.
 */
export const closingCodeSchema = z.enum([
  'slow',
  'revoked',
  /** The user token has expired. */
  'unauthenticated',
  'rate-limited',
  'invalid',
  'unavailable',
  'stopping',
])

/**
 * The last event before the server disconnects. `retry: later` asks the client to reconnect later;
 * `never` means that a reconnect cannot help.
 */
export const closingEvent = z.strictObject({
  code: closingCodeSchema,
  message: z.string(),
  retry: z.enum(['never', 'later']),
})

export type ClosingCode = z.infer<typeof closingCodeSchema>
