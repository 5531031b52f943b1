import * as z from 'zod'
import { limits } from '../../limits.ts'
import { userSchema } from '../../objects/user.ts'
import { idSchema } from '../../values/id.ts'
import { pageLimitSchema } from '../../values/seq.ts'
import { composedTextSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

/**
 * Finds profiles whose handle or name begins with `q`, or profiles with the given ids
 * (comma-separated in the query).
 */
export const findUsers = defineCommand({
  name: 'find-users',
  summary: 'Find users by the beginning of their handle or name, or by ids',
  auth: 'session',
  input: z.strictObject({
    q: composedTextSchema(0, limits.queryMaxChars).optional(),
    ids: z.array(idSchema).max(limits.listMaxIds).optional(),
    limit: pageLimitSchema,
  }),
  result: z.strictObject({ users: z.array(userSchema) }),
  route: { method: 'GET', path: '/v1/users', status: 200 },
})
