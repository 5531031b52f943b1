/**
 * Ids of users, conversations and sessions are UUIDv7 strings; a `clientId` is any UUID. Both are
 * stored and compared in lower case.
 */
import * as z from 'zod'

export const idSchema = z
  .uuid()
  .toLowerCase()
  .meta({ id: 'Id', description: 'A UUID; ids made by the server are UUIDv7.' })
export type Id = string

export const clientIdSchema = z.uuid().toLowerCase().meta({
  id: 'ClientId',
  description: 'A UUID that the sender makes once per message. A repeated id stores nothing again (rule IDEM1).',
})
