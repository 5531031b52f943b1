import * as z from 'zod'
import { avatarSchema, handleSchema, userSchema } from '../../objects/user.ts'
import { nameSchema } from '../../values/text.ts'
import { defineCommand } from '../define-command.ts'

export const updateProfile = defineCommand({
  name: 'update-profile',
  summary: 'Change my profile',
  auth: 'session',
  input: z.strictObject({
    handle: handleSchema.optional(),
    name: nameSchema.optional(),
    avatar: avatarSchema.nullable().optional(),
  }),
  result: z.strictObject({ user: userSchema }),
  route: { method: 'PATCH', path: '/v1/users/me', status: 200 },
})
