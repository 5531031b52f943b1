import * as z from 'zod'
import { defineCommand } from '../define-command.ts'

/** Revokes the caller's session and closes its connections on every server (rule ACL2). */
export const signOut = defineCommand({
  name: 'sign-out',
  summary: 'Sign out; closes the connections of this session everywhere',
  auth: 'session',
  ownSession: true,
  input: z.strictObject({}),
  result: z.null(),
  route: { method: 'DELETE', path: '/v1/session', status: 204 },
})
