/** Returns the caller's signed-in devices, the newest first. */
import { listSessions as readSessions } from '../../accounts/sessions.ts'
import type { CommandHandler } from '../command.ts'

export const listSessions: CommandHandler<'list-sessions'> = async ({ parts: { database }, actor }) => {
  const sessions = await readSessions(database, actor.userId)
  return { sessions: sessions.map((session) => ({ ...session, current: session.id === actor.sessionId })) }
}
