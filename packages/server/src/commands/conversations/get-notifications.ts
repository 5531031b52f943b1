/** Returns the mail settings of the caller: address and digest. */
import { readNotifications } from '../../jobs/mail.ts'
import type { Command } from '../command.ts'

export const getNotifications: Command<'get-notifications'> = {
  cost: { budget: 'requests' },
  run: async ({ parts: { database }, actor }) => readNotifications(database, actor.userId),
}
