/**
 * Inserts groups with their members directly into a database whose schema a server has created.
 * Adding members one by one over HTTP is too slow for groups of thousands. The rows equal the rows
 * that the server writes for a new conversation: the first member is the owner, seq 1 creates the
 * conversation, and each member has its own seq of joining. Each conversation is inserted
 * completely or not at all.
 */
import { makeId } from './make-id.ts'
import type { Databases } from './postgres.ts'

export interface InsertedConversations {
  readonly conversations: readonly {
    /** Ids of distinct users; the first is the owner. */
    readonly members: readonly string[]
    readonly name?: string
  }[]
}

/**
 * Maximum number of members inserted by one SQL statement, unless a single conversation has more.
 */
const membersTogetherMax = 10_000

interface Conversation {
  readonly id: string
  readonly members: readonly string[]
  readonly name: string
}

/** Inserts the conversations and returns their ids in the same order. */
export async function insertConversations(
  databases: Databases,
  databaseUrl: string,
  { conversations }: InsertedConversations,
): Promise<string[]> {
  const named = conversations.map(({ members, name = 'inserted' }): Conversation => {
    if (members.length === 0) throw new Error('unable to insert a conversation; it needs a member')
    return { id: makeId(), members, name }
  })
  let together: Conversation[] = []
  let members = 0
  for (const conversation of named) {
    if (together.length > 0 && members + conversation.members.length > membersTogetherMax) {
      await insertTogether(databases, databaseUrl, together)
      together = []
      members = 0
    }
    together.push(conversation)
    members += conversation.members.length
  }
  if (together.length > 0) await insertTogether(databases, databaseUrl, together)
  return named.map(({ id }) => id)
}

async function insertTogether(
  databases: Databases,
  databaseUrl: string,
  conversations: readonly Conversation[],
): Promise<void> {
  // One row for every member: the conversation, the user, and the seq of joining.
  const joined = conversations.flatMap(({ id, members }) =>
    members.map((user, index) => ({ id, user, seq: index + 2 })),
  )
  await databases.query(
    `with made as (
       select * from unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[]) t (id, name, owner, size)
     ), joined as (
       select t.*, made.owner, case when t.seq = 2 then 'owner' else 'member' end as role
         from unnest($5::uuid[], $6::uuid[], $7::bigint[]) t (id, user_id, seq) join made using (id)
     ), new_conversations as (
       insert into conversations (id, kind, name, seq, member_version, member_count)
       select id, 'group', name, size + 1, size + 1, size from made
     ), created as (
       insert into changes (conversation, seq, at, type, actor, name)
       select id, 1, clock_timestamp(), 'conversation.created', owner, name from made
     ), joinings as (
       insert into changes (conversation, seq, at, type, actor, user_id, role)
       select id, seq, clock_timestamp(), 'member.joined', owner, user_id, role from joined
     )
     insert into members (conversation, user_id, role, joined_seq, read_seq)
     select id, user_id, role, seq, seq from joined`,
    [
      conversations.map(({ id }) => id),
      conversations.map(({ name }) => name),
      conversations.map(({ members }) => members[0]),
      conversations.map(({ members }) => members.length),
      joined.map(({ id }) => id),
      joined.map(({ user }) => user),
      joined.map(({ seq }) => seq),
    ],
    databaseUrl,
  )
}
