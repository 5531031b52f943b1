/** Returns the mail settings of the caller. */
import { readNotifications } from '../../jobs/mail.ts'
import type { CommandHandler } from '../command.ts'

export const getNotifications: CommandHandler<'get-notifications'> = async ({ parts: { database }, actor }) =>
  readNotifications(database, actor.userId)
