/**
 * Sets the mail address of the caller and whether it receives digests. Before an address is
 * confirmed, it receives nothing but one confirmation link. The database limits the number of links
 * per user and per address, over all servers. So no mailbox can be flooded.
 */
import { ChorusError } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { readNotifications, setNotifications as store } from '../../jobs/mail.ts'
import { afterStored } from '../after-stored.ts'
import { rareWrite } from '../command-cost.ts'
import type { Command } from '../command.ts'

export const setNotifications: Command<'set-notifications'> = {
  cost: { budget: 'requests', requests: rareWrite },
  run: async ({ parts: { database, mail }, actor }, { email, digest }) => {
    if (mail === undefined && email !== null)
      throw new ChorusError('forbidden', 'unable to set notifications; this server sends no mail')
    const stored = await store(database, actor.userId, { email, digest: digest === 'on', mail: uuidv7() })
    if (stored.outcome === 'too-soon') {
      throw new ChorusError('rate-limited', 'unable to set notifications; too many links were mailed recently', {
        retryAfterMs: stored.retryAfterMs,
      })
    }
    if (stored.mail !== undefined) mail?.hint(stored.mail)
    return afterStored('set notifications', () => readNotifications(database, actor.userId))
  },
}
