/**
 * Brings the stored response to a request with an `Idempotency-Key` up to date before it is sent
 * again. A message, card or conversation in it is read again, so the response shows no text that was
 * edited or deleted since (ERASE1), and nothing to a user who has left the conversation (ACL1).
 */
import { ChorusError, type Card, type Conversation, type Id, type Message } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { readCard } from '../log/read-card.ts'
import { readConversation } from '../log/read-conversations.ts'
import { readMessage } from '../log/read-messages.ts'

/** Results of commands that show what may change. No command has more than one of these fields. */
interface Shown {
  readonly message?: Message
  readonly conversation?: Conversation
  readonly card?: Card
}

/** Conversation and message in the path of the request. */
export interface MessagePlace {
  readonly conversation?: Id
  readonly seq?: string
}

/** Returns the JSON text of the response as of now. Throws `not-found` if the user may not see it. */
export async function refreshAnswer(
  database: Database,
  user: Id,
  { conversation: place = '', seq }: MessagePlace,
  text: string,
): Promise<string> {
  const answer = JSON.parse(text) as Shown
  const { message, conversation, card } = answer
  if (message !== undefined) {
    const { reactions: _reactions, ...current } = orGone(
      await readMessage(database, user, message.conversation, message.seq),
    )
    return JSON.stringify({ ...answer, message: current })
  }
  if (conversation !== undefined)
    return JSON.stringify({ ...answer, conversation: orGone(await readConversation(database, user, conversation.id)) })
  if (card !== undefined)
    return JSON.stringify({ ...answer, card: orGone(await readCard(database, place, Number(seq))).card })
  return text
}

function orGone<Found>(found: Found | undefined): Found {
  if (found !== undefined) return found
  throw new ChorusError('not-found', 'unable to answer; what the first response showed is no longer visible')
}
