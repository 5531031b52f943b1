/**
 * Finds the bot that sent a message, so that a new key of an integrator repeats nothing of the old
 * one: each key has its own bot, but the bots of all keys share the ids of their messages (rule
 * IDEM1).
 */
import type { Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

/** Returns the bot of any key, revoked ones included, that has sent a message with this `clientId`. */
export async function findSendingBot(database: Database, conversation: Id, clientId: Id): Promise<Id | undefined> {
  const [row] = await database.query<{ readonly actor: Id }>({
    name: 'find-sending-bot',
    text: `select c.actor from api_keys k join changes c
             on c.actor = k.bot_user and c.conversation = $1::uuid and c.client_id = $2::uuid
           order by c.seq limit 1`,
    values: [conversation, clientId],
  })
  return row?.actor
}
