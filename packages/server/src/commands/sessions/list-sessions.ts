/** Returns the caller's signed-in devices, the newest first. */
import { listSessions as readSessions } from '../../accounts/sessions.ts'
import { sessionList } from '../command-cost.ts'
import type { Command } from '../command.ts'

export const listSessions: Command<'list-sessions'> = {
  cost: { budget: 'requests', requests: sessionList, answer: (result) => result },
  run: async ({ parts: { database }, actor }) => {
    const sessions = await readSessions(database, actor.userId)
    return { sessions: sessions.map((session) => ({ ...session, current: session.id === actor.sessionId })) }
  },
}
