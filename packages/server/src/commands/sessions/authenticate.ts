/**
 * Renews the user token of the connection that sends it. The connection then lasts until the new
 * token expires; a refused token changes nothing.
 */
import { ChorusError } from '@chorus/protocol'
import { limitKeyOf } from '../../support/address.ts'
import { smallWrite } from '../command-cost.ts'
import type { Command } from '../command.ts'

export const authenticate: Command<'authenticate'> = {
  cost: { budget: 'requests', requests: smallWrite },
  run: async ({ parts, connection, address }, { token }) => {
    if (connection === undefined || connection.credential === 'cookie')
      throw new ChorusError('invalid', 'unable to renew the token; the connection was not opened with a user token')
    const verified = await parts.userTokens.check(token, limitKeyOf(address), 'refuse')
    if (verified.userId !== connection.user)
      throw new ChorusError('forbidden', 'unable to renew the token; it is of another user')
    const expiresAt = await parts.tokenSessions.renew(connection, verified)
    return { expiresAt: expiresAt.toISOString() }
  },
}
