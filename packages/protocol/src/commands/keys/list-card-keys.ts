import * as z from 'zod'
import { cardKeySchema } from '../../objects/card.ts'
import { defineCommand } from '../define-command.ts'

/** Lists the public keys that verify cards, as a JWK set, retired keys included (rule CARD2). */
export const listCardKeys = defineCommand({
  name: 'list-card-keys',
  summary: 'List the public keys that cards are signed with',
  auth: 'none',
  input: z.strictObject({}),
  result: z.strictObject({ keys: z.array(cardKeySchema) }),
  route: { method: 'GET', path: '/v1/keys', status: 200 },
})
