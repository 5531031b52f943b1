/** Reads the card of a message for an API key. Does not check membership: the log does, later. */
import type { Card, Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

export interface StoredCard {
  readonly clientId: Id
  readonly card: Card
}

/** Returns the card of a message. Returns undefined if the message has none or is deleted. */
export async function readCard(database: Database, conversation: Id, seq: number): Promise<StoredCard | undefined> {
  const [row] = await database.query<StoredCard>({
    name: 'read_card',
    text: `select client_id as "clientId", card from changes
            where conversation = $1 and seq = $2 and type = 'message.created' and card is not null`,
    values: [conversation, seq],
  })
  return row
}
