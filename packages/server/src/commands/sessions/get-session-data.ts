/**
 * Returns the application data stored with the caller's session. The data is read from the
 * database, so a change is visible at every server at once.
 */
import { readSessionData } from '../../accounts/sessions.ts'
import type { Command } from '../command.ts'
import { requireSession } from '../require-session.ts'
import { sessionEndedError } from '../session-ended-error.ts'

export const getSessionData: Command<'get-session-data'> = {
  cost: { budget: 'requests' },
  run: async ({ parts: { database }, actor }) => {
    const data = await readSessionData(database, requireSession(actor))
    if (data === undefined) throw sessionEndedError()
    return { data }
  },
}
