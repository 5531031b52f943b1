/**
 * Reads what a question to the pre-send hook needs, for many messages and edits in one statement: is
 * the sender a member, is the request stored already, and who and what it is about. Rules HOOK1 and
 * HOOK3; the log checks access again when it stores the message (rule ACL1).
 */
import type { Id, Json, Subject } from '@chorus/protocol'
import type { Database } from '../database/database.ts'

export interface HookFactsRequest {
  readonly user: Id
  readonly conversation: Id
  /** `clientId` of a new message. Null for an edit. */
  readonly clientId: Id | null
  /** Seq of the message to edit. Null for a new message. */
  readonly target: number | null
}

export interface HookFacts {
  /** External id of the sender. Null for accounts with a password. */
  readonly externalId: string | null
  readonly subject: Subject | null
  /** True if the log has an entry of the sender with this `clientId`. */
  readonly isStored: boolean
  /** Message to edit. Null if the sender has not sent it, or if it is deleted. */
  readonly message: { readonly clientId: Id; readonly text: string; readonly data: Json } | null
}

/** Returns the facts for each request, in order. Null where the user is not a member. */
export async function readHookFacts(
  database: Database,
  requests: readonly HookFactsRequest[],
): Promise<(HookFacts | null)[]> {
  const rows = await database.query<HookFacts & { readonly i: number }>({
    name: 'read_hook_facts',
    // Each LIMIT forces a look-up by key.
    text: `select w.i::int as i, u.external_id as "externalId", v.subject, d.found is not null as "isStored",
                  case when t.client_id is not null
                    then json_build_object('clientId', t.client_id, 'text', t.text, 'data', t.data) end as message
             from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
               with ordinality w(user_id, conversation, client_id, target, i)
             cross join lateral (select from members m
               where m.conversation = w.conversation and m.user_id = w.user_id and m.left_seq is null limit 1) me
             cross join lateral (select k.external_id from users k where k.id = w.user_id limit 1) u
             cross join lateral (
               select case when c.subject_type is not null then json_build_object(
                        'type', c.subject_type, 'id', c.subject_id, 'title', c.subject_title, 'url', c.subject_url,
                        'data', c.subject_data) end as subject
                 from conversations c where c.id = w.conversation limit 1) v
             left join lateral (select true as found from changes c
               where c.actor = w.user_id and c.conversation = w.conversation and c.client_id = w.client_id limit 1) d on true
             left join lateral (select c.client_id, c.text, c.data from changes c
               where c.conversation = w.conversation and c.seq = w.target and c.type = 'message.created'
                 and c.actor = w.user_id and c.deleted_at is null limit 1) t on true`,
    values: [
      requests.map(({ user }) => user),
      requests.map(({ conversation }) => conversation),
      requests.map(({ clientId }) => clientId),
      requests.map(({ target }) => target),
    ],
  })
  const facts: (HookFacts | null)[] = requests.map(() => null)
  for (const { i, externalId, subject, isStored, message } of rows)
    facts[i - 1] = { externalId, subject, isStored, message }
  return facts
}

export interface StoredText {
  readonly text: string
  readonly data: Json
}

/**
 * Returns text and data of a stored message, which may differ from the request after a replacement.
 * Returns undefined if it is deleted. Only the sender can have edited it, so the sender may see it.
 */
export async function readStoredText(
  database: Database,
  { actor, conversation, clientId }: { readonly actor: Id; readonly conversation: Id; readonly clientId: Id },
): Promise<StoredText | undefined> {
  const [row] = await database.query<StoredText>({
    name: 'read_stored_text',
    text: `select text, data from changes
            where actor = $1 and conversation = $2 and client_id = $3
              and type = 'message.created' and deleted_at is null`,
    values: [actor, conversation, clientId],
  })
  return row
}
