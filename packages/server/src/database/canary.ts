/**
 * Stores the data of the canaries, the synthetic users with which the servers measure delivery.
 * There is one canary per server name, and all canaries share one conversation.
 *
 * Handles and names of canaries begin with a blank, so that other users can neither choose nor find
 * them. Their password hashes are invalid, so that nothing can sign in as a canary. Old messages
 * are deleted: only canaries read the conversation, and only its newest messages.
 */
import type { Id } from '@chorus/protocol'
import { foldHandle, foldHandleSql } from '../support/fold-text.ts'
import type { Database } from './database.ts'

/**
 * Number of canary messages to keep: those of a quarter of an hour when ten servers each send one
 * message in ten seconds.
 */
export const canaryMessagesMax = 1_000
/** Maximum number of messages deleted in one statement. */
const deleteMax = 5_000

const setting = 'canary'

export interface CanaryPlace {
  readonly conversation: Id
  /** Owner of the canaries' conversation, who may add other canaries. */
  readonly owner: Id
}

/** Returns the user of this server's canary, and creates it if it is missing. */
export async function ensureCanaryUser(database: Database, id: Id, serverName: string): Promise<Id> {
  const handle = ` canary ${serverName}`
  await database.query({
    text: `insert into users (id, handle, name, password_hash) values ($1, $2, $2, '!') on conflict do nothing`,
    values: [id, handle],
  })
  const [row] = await database.query<{ id: Id }>({
    text: `select id from users where ${foldHandleSql('handle')} = $1`,
    values: [foldHandle(handle)],
  })
  if (row === undefined) throw new Error('the user of the canary was not stored')
  return row.id
}

export async function readCanaryPlace(database: Database): Promise<CanaryPlace | undefined> {
  const [row] = await database.query<{ value: string }>({
    text: 'select value from settings where key = $1',
    values: [setting],
  })
  return row === undefined ? undefined : (JSON.parse(row.value) as CanaryPlace)
}

/**
 * Proposes a conversation for all canaries to share, and returns the shared conversation: the first
 * proposal of any server applies to all servers.
 */
export async function proposeCanaryPlace(database: Database, place: CanaryPlace): Promise<CanaryPlace> {
  await database.query({
    text: 'insert into settings (key, value) values ($1, $2) on conflict (key) do nothing',
    values: [setting, JSON.stringify(place)],
  })
  return (await readCanaryPlace(database)) ?? place
}

/** Deletes old canary messages and returns their number. */
export async function deleteOldCanaryMessages(database: Database, conversation: Id): Promise<number> {
  const rows = await database.query({
    text: `delete from changes where (conversation, seq) in (
             select conversation, seq from changes
              where conversation = $1 and type = 'message.created'
                and seq < (select seq from conversations where id = $1) - $2
              order by seq limit $3)
           returning seq`,
    values: [conversation, canaryMessagesMax, deleteMax],
  })
  return rows.length
}
