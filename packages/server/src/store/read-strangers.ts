/**
 * Finds the people whom an addition reaches uninvited (rule ADD1). Two people are acquainted when both are members of a
 * conversation in which the added person has written, or to which that person came by an act of their own. A conversation
 * into which that person was merely put acquaints nobody: otherwise the first addition would open the way for all others.
 */
import type { Id, Role } from '@chorus/protocol'
import type { Database } from './database.ts'

/** `w.id` and $1 are acquainted. Look-ups by key for each conversation of the added person, until one is found. */
const acquainted = `
  select from members theirs
    join members mine on mine.conversation = theirs.conversation and mine.user_id = $1 and mine.left_seq is null
   where theirs.user_id = w.id and theirs.left_seq is null
     and (exists (select from changes joined
                   where joined.conversation = theirs.conversation and joined.seq = theirs.joined_seq
                     and joined.actor = w.id)
       or exists (select from changes sent
                   where sent.actor = w.id and sent.conversation = theirs.conversation and sent.client_id is not null))`

/** A conversation that is about to be created. */
export interface Creation {
  readonly creator: Id
  readonly others: readonly Id[]
  readonly directKey: string | null
  readonly clientId: Id | null
}

/** Strangers among the others; none when the conversation exists already and nobody is added. */
export async function readStrangersOfCreation(
  database: Database,
  { creator, others, directKey, clientId }: Creation,
): Promise<Id[]> {
  if (others.length === 0) return []
  const rows = await database.query<{ id: Id }>({
    name: 'read_strangers_of_creation',
    pool: 'browse',
    text: `select w.id from unnest($2::uuid[]) w(id)
            where not exists (select from conversations where direct_key = $3)
              and not exists (select from conversations where creator = $1 and client_id = $4)
              and not exists (${acquainted})`,
    values: [creator, others, directKey, clientId],
  })
  return rows.map(({ id }) => id)
}

export interface Addition {
  readonly adder: Id
  readonly user: Id
  readonly conversation: Id
  /** Members with one of these roles may add: an addition that will be refused must not use up anybody's limit. */
  readonly roles: readonly Role[]
}

/** Is this user a stranger to the adder, who may add, and not a member already? */
export async function isStranger(database: Database, { adder, user, conversation, roles }: Addition): Promise<boolean> {
  if (adder === user) return false
  const rows = await database.query<{ id: Id }>({
    name: 'read_stranger',
    pool: 'browse',
    text: `select w.id from unnest(array[$2::uuid]) w(id)
            where exists (
                select from members a
                 where a.conversation = $3 and a.user_id = $1 and a.left_seq is null and a.role = any ($4::text[]))
              and not exists (
                select from members m where m.conversation = $3 and m.user_id = w.id and m.left_seq is null)
              and not exists (${acquainted})`,
    values: [adder, user, conversation, roles],
  })
  return rows.length > 0
}
