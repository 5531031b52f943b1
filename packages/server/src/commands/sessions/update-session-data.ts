/**
 * Merges top-level keys into the data of the caller's session. The merge is one statement, so
 * concurrent requests lose nothing.
 */
import { ChorusError, limits } from '@chorus/protocol'
import { mergeSessionData } from '../../accounts/sessions.ts'
import { smallWrite } from '../command-cost.ts'
import type { Command } from '../command.ts'
import { requireSession } from '../require-session.ts'
import { sessionEndedError } from '../session-ended-error.ts'

export const updateSessionData: Command<'update-session-data'> = {
  cost: { budget: 'requests', requests: smallWrite },
  run: async ({ parts: { database }, actor }, input) => {
    const data = await mergeSessionData(database, requireSession(actor), input.data, limits.sessionDataMaxBytes)
    if (data === undefined) throw sessionEndedError()
    if (data === 'too-large') {
      throw new ChorusError(
        'too-large',
        `unable to keep session data; it would be more than ${limits.sessionDataMaxBytes} bytes`,
      )
    }
    return { data }
  },
}
