/**
 * SQL of the erasure of a user (rule ERASE2), except for the log. Each statement reads and writes a
 * limited number of rows, by an index, and can be repeated without another effect.
 */
import { ChorusError, type Id } from '@chorus/protocol'
import { createHandle } from '../accounts/external-users.ts'
import { unlessHandleTaken } from '../accounts/users.ts'
import type { Database } from '../database/database.ts'

/** Name of an erased user, on all messages, reactions and acts. */
export const deletedName = 'Deleted user'

export const erasureLimits = {
  /** Maximum messages, reactions or memberships that one step erases. */
  logRowsMax: 100,
  /** Maximum rows of other tables that one statement erases. */
  rowsMax: 1_000,
  /** Maximum stored answers that one statement reads. Each has up to a megabyte. */
  answersMax: 100,
  /** Maximum number of users that are erased at the same time. */
  usersMax: 100,
  /** Seconds after which no token that was issued before an erasure is valid any more. */
  tokensForgottenS: 25 * 60 * 60,
} as const

const handleAttemptsMax = 5

export type Begun =
  | { readonly kind: 'begun'; readonly user: Id }
  /** The last user with this external id has been erased. */
  | { readonly kind: 'erased' }
  | { readonly kind: 'unknown' }

/**
 * Begins the erasure of the user with this external id, unless it has begun. From then on, the user
 * is anonymous, joins no conversation, and no token of them is accepted.
 */
export async function beginErasure(database: Database, externalId: string): Promise<Begun> {
  for (let attempt = 0; attempt < handleAttemptsMax; attempt++) {
    const rows = await unlessHandleTaken(() =>
      database.query<{ user: Id | null; erased: boolean }>({
        name: 'begin-erasure',
        // "for update" waits for requests that add the user to a conversation right now, so that
        // the erasure finds the new membership (append-op.sql).
        text: `with known as materialized (
                 select id from users where external_id = $1 collate "C" for update),
               begun as (
                 update users u
                    set erasing_since = now(), name = $2, handle = $3, avatar = null,
                        tokens_after = greatest(
                          tokens_after, newest_token, floor(extract(epoch from clock_timestamp()))::bigint)
                   from known k where u.id = k.id and u.erasing_since is null)
               select (select id from known) as user,
                      exists (select from erased_external_ids where external_id = $1 collate "C") as erased`,
        values: [externalId, deletedName, createHandle()],
      }),
    )
    const row = rows?.[0]
    if (row === undefined) continue
    if (row.user !== null) return { kind: 'begun', user: row.user }
    return { kind: row.erased ? 'erased' : 'unknown' }
  }
  throw new ChorusError('unavailable', 'unable to erase user; no free handle was found', { retryAfterMs: 1_000 })
}

/**
 * Returns users whose erasure began more than `minAgeMs` ago and is not done, the oldest erasure
 * first.
 */
export async function readErasures(database: Database, minAgeMs: number): Promise<Id[]> {
  const rows = await database.query<{ id: Id }>({
    name: 'read-erasures',
    text: `select id from users
            where erasing_since is not null and erasing_since <= now() - $1 * interval '1 millisecond'
            order by erasing_since limit ${erasureLimits.usersMax}`,
    values: [minAgeMs],
  })
  return rows.map(({ id }) => id)
}

/** Returns the user's next current memberships after a conversation, direct conversations included. */
export async function readNextMemberships(database: Database, user: Id, after: Id): Promise<Id[]> {
  const rows = await database.query<{ conversation: Id }>({
    name: 'read-memberships-to-erase',
    text: `select conversation from members where user_id = $1 and left_seq is null and conversation > $2
            order by conversation limit ${erasureLimits.logRowsMax}`,
    values: [user, after],
  })
  return rows.map(({ conversation }) => conversation)
}

/**
 * Clears the user's next read markers after a conversation. Returns the last conversation, or
 * undefined if there are no more.
 */
export async function clearReadMarkers(database: Database, user: Id, after: Id): Promise<Id | undefined> {
  const [row] = await database.query<{ last: Id | null }>({
    name: 'clear-read-markers',
    text: `with next as materialized (
             select conversation from members where user_id = $1 and conversation > $2
              order by conversation limit ${erasureLimits.rowsMax}),
           cleared as (
             update members m set read_seq = joined_seq
              where m.user_id = $1 and m.conversation > $2
                and m.conversation <= (select conversation from next order by conversation desc limit 1)
                and m.read_seq <> m.joined_seq)
           select (select conversation from next order by conversation desc limit 1) as last`,
    values: [user, after],
  })
  return row?.last ?? undefined
}

/** Place of a message in the order of {@link readNextMessages}. */
export interface MessagePlace {
  readonly conversation: Id
  readonly clientId: Id
}

export interface OwnMessage extends MessagePlace {
  readonly seq: number
  /** Whether the row is an act on a card, or a message that has been erased before. */
  readonly isErased: boolean
}

/** Returns the user's next messages and acts after a place, by the index on `clientId`. */
export function readNextMessages(database: Database, user: Id, after: MessagePlace): Promise<OwnMessage[]> {
  return database.query<OwnMessage>({
    name: 'read-messages-to-erase',
    text: `select conversation, client_id as "clientId", seq,
                  type <> 'message.created' or (deleted_at is not null and request_hash = '') as "isErased"
             from changes
            where actor = $1 and client_id is not null and (conversation, client_id) > ($2::uuid, $3::uuid)
            order by conversation, client_id limit ${erasureLimits.logRowsMax}`,
    values: [user, after.conversation, after.clientId],
  })
}

export interface OwnReaction {
  readonly conversation: Id
  readonly target: number
  readonly emoji: string
}

/** Returns some reactions of the user, removed ones included. */
export function readReactions(database: Database, user: Id): Promise<OwnReaction[]> {
  return database.query<OwnReaction>({
    name: 'read-reactions-to-erase',
    text: `select conversation, target, emoji from reactions where user_id = $1 limit ${erasureLimits.logRowsMax}`,
    values: [user],
  })
}

/** Place of a session in the order of the ends of a user's sessions. */
export interface SessionPlace {
  readonly ends: string
  readonly id: Id
}

export const firstSession: SessionPlace = { ends: '-infinity', id: '00000000-0000-0000-0000-000000000000' }

/**
 * Clears what the user's sessions after this one hold: data, device and user agent. Returns the last
 * session of the step, or undefined when there are no more.
 */
export async function clearSessions(
  database: Database,
  user: Id,
  after: SessionPlace,
): Promise<SessionPlace | undefined> {
  const [last] = await database.query<SessionPlace>({
    name: 'clear-sessions',
    text: `with page as materialized (
             select id, expires_at from sessions
              where user_id = $1 and (expires_at, id) > ($2::timestamptz, $3::uuid)
              order by expires_at, id limit ${erasureLimits.rowsMax}),
           cleared as (
             update sessions set data = '{}', user_agent = null, device = null
              where id = any (array(select id from page)))
           select expires_at::text as ends, id from page order by expires_at desc, id desc limit 1`,
    values: [user, after.ends, after.id],
  })
  return last
}

/** Deletes the user's mail address and mails that wait. Returns the number of deleted rows. */
export async function deleteMails(database: Database, user: Id): Promise<number> {
  const [row] = await database.query<{ deleted: number }>({
    name: 'delete-mails',
    text: `with settings as (delete from notification_settings where user_id = $1 returning 1),
                due as (delete from mail_due where user_id = $1 returning 1),
                mailed as (
                  delete from mails where id = any (array(
                    select id from mails where user_id = $1 limit ${erasureLimits.rowsMax})) returning 1),
                marks as (
                  delete from mail_watermarks where user_id = $1 and conversation = any (array(
                    select conversation from mail_watermarks where user_id = $1 limit ${erasureLimits.rowsMax}))
                  returning 1)
           select ((select count(*) from settings) + (select count(*) from due) + (select count(*) from mailed)
                   + (select count(*) from marks))::int as deleted`,
    values: [user],
  })
  return row?.deleted ?? 0
}

/**
 * Ends the erasure: frees the external id, and remembers which of its tokens stay refused. Does
 * nothing if the erasure has ended.
 */
export async function finishErasure(database: Database, user: Id): Promise<void> {
  await database.query({
    name: 'finish-erasure',
    text: `with gone as materialized (
             select id, external_id, tokens_after from users where id = $1 and erasing_since is not null for update),
           freed as (
             update users u
                set external_id = null, erasing_since = null, erased_at = now(), last_seen_at = null,
                    disabled_at = coalesce(disabled_at, now()), newest_token = 0
               from gone g where u.id = g.id)
           insert into erased_external_ids as e (external_id, tokens_after)
           select external_id, tokens_after from gone
           on conflict (external_id) do update set tokens_after = greatest(e.tokens_after, excluded.tokens_after)`,
    values: [user],
  })
}

/**
 * Deletes external ids of erased users when no token from before the erasure can be valid any more,
 * in limited batches.
 */
export async function pruneErasedIds(database: Database, isStopped: () => boolean = () => false): Promise<void> {
  while (!isStopped()) {
    const rows = await database.query({
      name: 'prune-erased-ids',
      text: `delete from erased_external_ids where external_id = any (array(
               select external_id from erased_external_ids
                where tokens_after < extract(epoch from now())::bigint - $1
                order by tokens_after limit ${erasureLimits.rowsMax})) returning 1`,
      values: [erasureLimits.tokensForgottenS],
    })
    if (rows.length < erasureLimits.rowsMax) return
  }
}
