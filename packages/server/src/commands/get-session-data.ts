/** The application's own data kept with this session, read from the database: at once the same from every server. */
import { readSessionData } from '../store/sessions.ts'
import type { CommandHandler } from './command.ts'
import { sessionIsOver } from './session-is-over.ts'

export const getSessionData: CommandHandler<'get-session-data'> = async ({ parts: { database }, actor }) => {
  const data = await readSessionData(database, actor.sessionId)
  if (data === undefined) throw sessionIsOver()
  return { data }
}
