/**
 * Refuses all tokens of a user that were issued until now, and ends the user's sessions (rule ACL2).
 */
import { ChorusError } from '@chorus/protocol'
import { revokeTokensOf } from '../../accounts/external-users.ts'
import type { Command } from '../command.ts'

export const revokeTokens: Command<'revoke-tokens'> = {
  cost: { budget: 'key' },
  run: async ({ parts }, { externalId }) => {
    if (!(await revokeTokensOf(parts.database, externalId, parts.announceRevoked)))
      throw new ChorusError('not-found', 'unable to revoke tokens; there is no user with this externalId')
    return null
  },
}
