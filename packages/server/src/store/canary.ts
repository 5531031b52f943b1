/**
 * What the canary keeps in the database: a member per server name, and the one conversation they share. Handle and name begin
 * with a blank, which nobody can choose or search for, and the password is no hash, so nobody can sign in. Old messages are
 * deleted: nobody but the canaries reads that conversation, and they look at what is new only.
 */
import type { Id } from '@chorus/protocol'
import { foldHandle, foldHandleSql } from '../support/fold-text.ts'
import type { Database } from './database.ts'

/** Messages that are kept. At ten servers and one in ten seconds, a quarter of an hour. */
export const canaryMessagesMax = 1_000
/** Messages deleted in one statement. */
const deleteMax = 5_000

const setting = 'canary'

export interface CanaryPlace {
  readonly conversation: Id
  /** Who may let others in. */
  readonly owner: Id
}

/** The member of this server, made when it is missing. */
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
  if (row === undefined) throw new Error('the member of the canary was not stored')
  return row.id
}

export async function readCanaryPlace(database: Database): Promise<CanaryPlace | undefined> {
  const [row] = await database.query<{ value: string }>({
    text: 'select value from settings where key = $1',
    values: [setting],
  })
  return row === undefined ? undefined : (JSON.parse(row.value) as CanaryPlace)
}

/** The first server's choice is everybody's. */
export async function proposeCanaryPlace(database: Database, place: CanaryPlace): Promise<CanaryPlace> {
  await database.query({
    text: 'insert into settings (key, value) values ($1, $2) on conflict (key) do nothing',
    values: [setting, JSON.stringify(place)],
  })
  return (await readCanaryPlace(database)) ?? place
}

/** Returns how many were deleted. */
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
