/**
 * Finds the users who do not know the user that adds them to a conversation: the *strangers* (rule
 * ADD1). Two users know each other if both are members of a conversation in which the added user
 * has written, or which the added user joined by their own action. A conversation to which another
 * user added them does not count: otherwise the first addition would permit all later ones.
 */
import type { Id, Role } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

/**
 * SQL that is true if the added user `w.id` and the adding user $1 know each other. Looks up the
 * added user's conversations by key until one matches.
 */
const acquainted = `
  select from members theirs
    join members mine on mine.conversation = theirs.conversation and mine.user_id = $1 and mine.left_seq is null
   where theirs.user_id = w.id and theirs.left_seq is null
     and (exists (select from changes joined
                   where joined.conversation = theirs.conversation and joined.seq = theirs.joined_seq
                     and joined.actor = w.id)
       or exists (select from changes sent
                   where sent.actor = w.id and sent.conversation = theirs.conversation and sent.client_id is not null))`

/** Conversation that is about to be created. */
export interface Creation {
  readonly creator: Id
  readonly others: readonly Id[]
  readonly directKey: string | null
  readonly clientId: Id | null
}

/**
 * Returns the other members of the new conversation who do not know its creator. Returns none if
 * the conversation already exists, because then no user is added.
 */
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
  /**
   * Roles that may add users. An addition that will be refused anyway must not use up the limit of
   * the adding user.
   */
  readonly roles: readonly Role[]
}

/**
 * Returns whether the two users do not know each other (see above), the adding user may add
 * members, and the other user is not yet a member.
 */
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
