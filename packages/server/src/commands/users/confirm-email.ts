/**
 * Confirms the mail address to which the token of a link was sent. No session is needed: the token
 * proves that its holder reads mail at that address.
 */
import { ChorusError } from '@chorus/protocol'
import { hashOfToken } from '../../jobs/mail-links.ts'
import { confirmEmail as store } from '../../jobs/mail.ts'
import { limitKeyOf } from '../../support/address.ts'
import type { Command } from '../command.ts'

export const confirmEmail: Command<'confirm-email'> = {
  cost: { budget: 'none' },
  run: async ({ parts: { database, limits }, address }, { token }) => {
    limits.takeRequest(limitKeyOf(address))
    if (!(await store(database, hashOfToken(token))))
      throw new ChorusError('not-found', 'unable to confirm email; the link was used already, is too old or is unknown')
    return null
  },
}
