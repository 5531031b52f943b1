/** Where a person gets mail. Their own affair: it stands in no profile (N59). */
import * as z from 'zod'
import { limits } from '../limits.ts'

/** An address as mail servers take it without being asked for more: ASCII, no quotes, a domain with a dot. */
export const emailSchema = z
  .string()
  .max(limits.emailMaxChars)
  .regex(/^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$/, {
    error: 'is not an address',
  })
  .meta({ id: 'Email' })

export const digestSchema = z.enum(['on', 'off'])

export const notificationsSchema = z
  .strictObject({
    email: emailSchema.nullable(),
    /** Did the person follow the link that was mailed there? Digests go to nobody else. */
    confirmed: z.boolean(),
    digest: digestSchema,
  })
  .meta({ id: 'Notifications' })

export type Notifications = z.infer<typeof notificationsSchema>
