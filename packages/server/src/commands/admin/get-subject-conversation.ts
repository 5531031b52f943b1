/**
 * Returns the conversation of a subject as the bot of the key sees it (rule SUB1). Creates nothing
 * and adds no member, so the outbox relay can look up a subject whose conversation may not exist.
 * A bot that is not a member gets no message (rule ACL1).
 */
import { ChorusError } from '@chorus/protocol'
import { readSubjectConversation } from '../../log/read-conversations.ts'
import type { Command } from '../command.ts'

export const getSubjectConversation: Command<'get-subject-conversation'> = {
  cost: { budget: 'key' },
  run: async ({ parts: { database }, actor, key }, { type, id }) => {
    const conversation = await readSubjectConversation(database, key?.botUser ?? actor.userId, type, id)
    if (conversation === undefined)
      throw new ChorusError('not-found', 'unable to show conversation; the subject has none yet')
    return { conversation }
  },
}
