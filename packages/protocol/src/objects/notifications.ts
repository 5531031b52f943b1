/** Mail settings of a user. They are private: no profile contains them. */
import * as z from 'zod'
import { limits } from '../limits.ts'

/**
 * An e-mail address of the form that every mail server accepts: ASCII, no quotes, a domain with a
 * dot.
 */
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
    /**
     * Whether the user has opened the link mailed to this address. Digests go to confirmed
     * addresses only.
     */
    confirmed: z.boolean(),
    digest: digestSchema,
  })
  .meta({ id: 'Notifications' })

export type Notifications = z.infer<typeof notificationsSchema>
