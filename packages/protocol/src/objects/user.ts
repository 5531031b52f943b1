import * as z from 'zod'
import { limits } from '../limits.ts'
import { idSchema } from '../values/id.ts'
import { nameSchema, textSchema } from '../values/text.ts'

/** A handle. ASCII only, so that no two handles look alike; compared case-insensitively. */
export const handleSchema = z
  .string()
  .min(1)
  .max(limits.handleMaxChars)
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/, {
    error: 'is not made of letters, digits, dots, dashes and underscores',
  })
  .meta({ id: 'Handle' })

export const passwordSchema = textSchema(limits.passwordMinChars, limits.passwordMaxChars)

/** Avatar: an https URL or a path on this server. */
export const avatarSchema = z
  .string()
  .max(limits.avatarMaxChars)
  .regex(/^(?:https:\/\/[^\s"'<>\\]+|\/(?!\/)[^\s"'<>\\]*)$/, {
    error: 'is not an https address or a path on this server',
  })

/**
 * Id of a user in the system of an integrator. It is compared byte for byte, so it is never
 * normalized. The ids `.` and `..` are refused, because programs remove them from the path of a URL.
 */
export const externalIdSchema = z
  .string()
  .min(1)
  .max(limits.externalIdMaxChars)
  .refine((text) => text.isWellFormed() && !/\p{Cc}|^\.{1,2}$/u.test(text), {
    error: 'contains control characters or lone surrogates, or is . or ..',
  })
  .meta({ id: 'ExternalId' })

export const userSchema = z
  .strictObject({
    id: idSchema,
    handle: handleSchema,
    name: nameSchema,
    avatar: avatarSchema.nullable(),
    /** Whether the user is a program: the bot of an API key. */
    bot: z.boolean(),
  })
  .meta({ id: 'User' })

/** User as API keys see it. */
export const externalUserSchema = userSchema
  .extend({ externalId: externalIdSchema.nullable(), deactivated: z.boolean(), erasing: z.boolean() })
  .meta({ id: 'ExternalUser' })

export type ExternalUser = z.infer<typeof externalUserSchema>

export type User = z.infer<typeof userSchema>
