/**
 * Inserts users in many conversations, with messages in each conversation, directly into the
 * database. Over HTTP, a hundred thousand memberships would take longer than the measurement.
 */
import { insertConversations } from '@chorus/testkit'
import type { Databases, HttpUser } from '@chorus/testkit'
import { assignUsers } from './assign-users.ts'
import type { Population, CrowdPlan } from './target.ts'

interface Person {
  readonly id: string
  readonly http: HttpUser
}

/**
 * Inserts messages of each conversation's owner, in the form in which the server stores them.
 * Parameters: $1 conversations, $2 number of messages in each.
 */
const sayMuchSql = `
  with added as (
    insert into changes (conversation, seq, at, type, actor, client_id, version, text)
    select v.id, v.seq + n, now(), 'message.created', m.user_id, md5(v.id || ' ' || n)::uuid, v.seq + n,
           'message number ' || n || ' says about as much as people say in a line of chat'
      from conversations v
      join members m on m.conversation = v.id and m.role = 'owner'
     cross join generate_series(1, $2::int) as n
     where v.id = any ($1::uuid[])
    returning 1)
  update conversations
     set seq = seq + $2::int, last_message_seq = seq + $2::int, last_xid = pg_current_xact_id()
   where id = any ($1::uuid[])`

/** Marks all messages as read, as users who were connected before would have done. */
const readAllSql = `
  update members m set read_seq = v.seq, xid = pg_current_xact_id()
    from conversations v where v.id = m.conversation and v.id = any ($1::uuid[])`

export async function fillCrowd(
  databases: Databases,
  databaseUrl: string,
  people: readonly Person[],
  plan: CrowdPlan,
): Promise<Population> {
  const dealt = assignUsers(plan)
  const ids = await insertConversations(databases, databaseUrl, {
    conversations: dealt.map((members) => ({ members: members.map((person) => people[person]?.id ?? '') })),
  })
  if (plan.history > 0) {
    await databases.query(sayMuchSql, [ids, plan.history], databaseUrl)
    await databases.query(readAllSql, [ids], databaseUrl)
  }
  await databases.query('vacuum analyze', [], databaseUrl)
  const conversationsOf = people.map((): number[] => [])
  for (const [index, members] of dealt.entries()) for (const person of members) conversationsOf[person]?.push(index)
  return {
    members: people.map(({ http }, person) => ({
      cookie: http.cookie ?? '',
      conversations: conversationsOf[person] ?? [],
    })),
    conversations: ids.map((id, index) => ({ id, poster: dealt[index]?.[0] ?? 0 })),
    posts: true,
  }
}
