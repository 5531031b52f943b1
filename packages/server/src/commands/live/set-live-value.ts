/**
 * Sets a live value, such as "is typing". The newest value wins, it expires by itself, and it is
 * never stored in the database (rule LIVE1).
 */
import { ChorusError } from '@chorus/protocol'
import { costUnits } from '../command-cost.ts'
import type { Command } from '../command.ts'
import { requireMember } from '../conversations/is-member.ts'

const what = 'set the live value'

export const setLiveValue: Command<'set-live-value'> = {
  cost: {
    budget: 'requests',
    requests: ({ value }) => Math.floor(JSON.stringify(value).length / costUnits.liveCharsPerRequest),
  },
  run: async (context, { conversation, key, value, ttlMs }) => {
    await requireMember(context, conversation, what)
    if (key === 'read') throw new ChorusError('invalid', `unable to ${what}; the key "read" is for the read marker`)
    if (!context.parts.liveValues.set(conversation, key, context.actor.userId, value, ttlMs)) {
      throw new ChorusError('unavailable', `unable to ${what}; too many conversations have live values`, {
        retryAfterMs: 1_000,
      })
    }
    return {}
  },
}
