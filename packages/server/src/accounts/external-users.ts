/**
 * Reads and writes users that an integrator manages by the ids of its own system. An external id is
 * compared byte for byte. All API keys share one namespace of external ids. Such users have no
 * password.
 */
import { randomInt } from 'node:crypto'
import type { ExternalUser, Id } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import type { Database } from '../database/database.ts'
import { foldHandle, foldHandleSql } from '../support/fold-text.ts'
import { foldNamesOf } from './fold-names.ts'
import { createUnusableHash } from './unusable-hash.ts'
import { unlessHandleTaken } from './users.ts'

const profile = `u.id, u.handle, u.name, u.avatar, u.bot, u.external_id as "externalId",
                 u.disabled_at is not null as deactivated, u.erasing_since is not null as erasing`

/** Fields that an integrator sets. Fields that are left out keep their value. */
export interface ExternalProfile {
  readonly externalId: string
  readonly name: string
  /** Address of the profile picture. Null removes the picture. */
  readonly avatar?: string | null | undefined
  readonly handle?: string | undefined
  readonly deactivated?: boolean | undefined
}

export type PutOutcome =
  | { readonly kind: 'created' | 'updated'; readonly user: ExternalUser }
  | { readonly kind: 'handle-taken' | 'erasing' }

/** Maximum number of users in one statement. */
export const putUsersMax = 100

const handleLetters = 'abcdefghijklmnopqrstuvwxyz'

/** Returns a handle for a user without a chosen one: `u-` and ten random letters. */
export function createHandle(): string {
  return `u-${Array.from({ length: 10 }, () => handleLetters[randomInt(handleLetters.length)]).join('')}`
}

/**
 * Creates or updates at most {@link putUsersMax} users, whose external ids all differ. Returns their
 * outcomes in the same order. A taken handle fails only its own user.
 */
export async function putExternalUsers(
  database: Database,
  profiles: readonly ExternalProfile[],
): Promise<PutOutcome[]> {
  const known = await readKnown(database, profiles)
  const outcomes = refuse(profiles, known)
  const fit = profiles.filter(({ externalId }) => !outcomes.has(externalId))
  const isStored = fit.length === 0 || (await unlessHandleTaken(() => store(database, fit)))
  if (isStored === undefined) {
    // Another request has taken one of the handles since the look-up. Stored one by one, only the
    // user with that handle fails.
    const [only, ...others] = fit
    if (only !== undefined && others.length === 0) outcomes.set(only.externalId, { kind: 'handle-taken' })
    else
      for (const one of fit)
        for (const outcome of await putExternalUsers(database, [one])) outcomes.set(one.externalId, outcome)
  }
  const stored = new Map(
    (
      await readExternalUsers(
        database,
        profiles.map(({ externalId }) => externalId),
      )
    ).map((user) => [user.externalId, user]),
  )
  if (isStored !== undefined)
    await foldNamesOf(
      database,
      fit.flatMap(({ externalId }) => toSearchedName(stored.get(externalId))),
    )
  return profiles.map(({ externalId }) => {
    const outcome = outcomes.get(externalId)
    if (outcome !== undefined) return outcome
    const user = stored.get(externalId)
    // An erasure that began after the look-up has removed the external id.
    if (user === undefined) return { kind: 'erasing' }
    return { kind: known.users.has(externalId) ? 'updated' : 'created', user }
  })
}

const toSearchedName = (user: ExternalUser | undefined) =>
  user === undefined ? [] : [{ owner: user.id, name: user.name }]

interface KnownUsers {
  /** Existing users by external id. */
  readonly users: ReadonlyMap<string, { readonly id: Id; readonly erasing: boolean }>
  /** Owners of the wanted handles, by the folded handle. */
  readonly handles: ReadonlyMap<string, Id>
}

/** Returns the outcomes of the users that are refused because of what is stored, or by each other. */
function refuse(profiles: readonly ExternalProfile[], known: KnownUsers): Map<string, PutOutcome> {
  const refused = new Map<string, PutOutcome>()
  const wanted = new Set<string>()
  for (const { externalId, handle } of profiles) {
    const existing = known.users.get(externalId)
    if (existing?.erasing === true) refused.set(externalId, { kind: 'erasing' })
    else if (handle !== undefined) {
      const folded = foldHandle(handle)
      const owner = known.handles.get(folded)
      if (wanted.has(folded) || (owner !== undefined && owner !== existing?.id))
        refused.set(externalId, { kind: 'handle-taken' })
      wanted.add(folded)
    }
  }
  return refused
}

async function readKnown(database: Database, profiles: readonly ExternalProfile[]): Promise<KnownUsers> {
  const rows = await database.query<{ external_id: string | null; id: Id; erasing: boolean; folded: string | null }>({
    name: 'read-known-external-users',
    text: `select u.external_id, u.id, u.erasing_since is not null as erasing, null as folded
             from unnest($1::text[]) w(external_id)
             cross join lateral (select * from users u where u.external_id = w.external_id collate "C" limit 1) u
           union all
           select null, u.id, false, w.folded from unnest($2::text[]) w(folded)
             cross join lateral (select * from users u where ${foldHandleSql('u.handle')} = w.folded limit 1) u`,
    values: [
      profiles.map(({ externalId }) => externalId),
      profiles.flatMap(({ handle }) => (handle === undefined ? [] : [foldHandle(handle)])),
    ],
  })
  return {
    users: new Map(
      rows.flatMap(({ external_id, id, erasing }) => (external_id === null ? [] : [[external_id, { id, erasing }]])),
    ),
    handles: new Map(rows.flatMap(({ folded, id }) => (folded === null ? [] : [[folded, id]]))),
  }
}

/** Stores the users in one statement. A repeated call stores nothing more. */
async function store(database: Database, profiles: readonly ExternalProfile[]): Promise<true> {
  await database.query({
    // Sorted, so that two statements with the same users lock their rows in the same order.
    text: `with wanted as (
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[],
                                  $8::boolean[], $9::text[])
               w(id, external_id, name, avatar, handle, new_handle, has_avatar, deactivated, password_hash))
           insert into users as u (id, external_id, handle, name, avatar, disabled_at, password_hash)
           select id, external_id, coalesce(handle, new_handle), name, avatar, case when deactivated then now() end,
                  password_hash
             from wanted order by external_id collate "C"
           on conflict (external_id) where external_id is not null do update
              set name = excluded.name,
                  avatar = case when (select w.has_avatar from wanted w where w.external_id = excluded.external_id)
                             then excluded.avatar else u.avatar end,
                  handle = coalesce(
                    (select w.handle from wanted w where w.external_id = excluded.external_id), u.handle),
                  disabled_at = case (select w.deactivated from wanted w where w.external_id = excluded.external_id)
                    when true then coalesce(u.disabled_at, now()) when false then null else u.disabled_at end
            where u.erasing_since is null`,
    values: [
      profiles.map(() => uuidv7()),
      profiles.map(({ externalId }) => externalId),
      profiles.map(({ name }) => name),
      profiles.map(({ avatar }) => avatar ?? null),
      profiles.map(({ handle }) => handle ?? null),
      profiles.map(() => createHandle()),
      profiles.map(({ avatar }) => avatar !== undefined),
      profiles.map(({ deactivated }) => deactivated ?? null),
      profiles.map(() => createUnusableHash()),
    ],
  })
  return true
}

/** Returns the users with these external ids, including deactivated users. */
export function readExternalUsers(database: Database, externalIds: readonly string[]): Promise<ExternalUser[]> {
  return database.query<ExternalUser>({
    name: 'read-external-users',
    text: `select ${profile} from unnest($1::text[]) w(external_id)
             cross join lateral (select * from users u where u.external_id = w.external_id collate "C" limit 1) u`,
    values: [externalIds],
  })
}

/** Id before every other, so that the first page begins by index like all others. */
const lowestId = '00000000-0000-0000-0000-000000000000'

/** Returns users with an external id in the order of their creation, beginning after `after`. */
export function listExternalUsers(database: Database, after: Id | undefined, limit: number): Promise<ExternalUser[]> {
  return database.query<ExternalUser>({
    name: 'list-external-users',
    pool: 'browse',
    text: `select ${profile} from users u
            where u.external_id is not null and u.id > $1::uuid order by u.id limit $2`,
    values: [after ?? lowestId, limit],
  })
}

/** Maximum number of sessions that one statement revokes. */
const sessionsPerStep = 1_000

/**
 * Refuses all tokens of the user that were issued until now, and revokes the user's sessions in
 * limited steps. Calls `onRevoked` with the sessions of each step. Returns false without such a
 * user.
 */
export async function revokeTokensOf(
  database: Database,
  externalId: string,
  onRevoked: (sessions: readonly Id[]) => void,
): Promise<boolean> {
  const [user] = await database.query<{ id: Id }>({
    text: `update users
              set tokens_after = greatest(tokens_after, newest_token, floor(extract(epoch from clock_timestamp()))::bigint)
            where external_id = $1 collate "C" returning id`,
    values: [externalId],
  })
  if (user === undefined) return false
  await revokeSessionsOf(database, [user.id], onRevoked)
  return true
}

/**
 * Revokes all sessions of these users in limited steps. Calls `onRevoked` with the sessions of each
 * step.
 */
export async function revokeSessionsOf(
  database: Database,
  userIds: readonly Id[],
  onRevoked: (sessions: readonly Id[]) => void,
): Promise<void> {
  for (;;) {
    const rows = await database.query<{ id: Id }>({
      text: `update sessions set revoked_at = now(), xid = pg_current_xact_id()
              where id = any (array(
                      select s.id from unnest($1::uuid[]) w(user_id)
                        cross join lateral (
                          select id from sessions s
                           where s.user_id = w.user_id and s.revoked_at is null and s.expires_at > now()
                           order by s.expires_at desc limit ${sessionsPerStep}) s
                       limit ${sessionsPerStep}))
             returning id`,
      values: [userIds],
    })
    if (rows.length > 0) onRevoked(rows.map(({ id }) => id))
    if (rows.length < sessionsPerStep) return
  }
}

/** Returns the user with this external id, unless the user is deactivated or being erased. */
export async function findExternalUser(database: Database, externalId: string): Promise<Id | undefined> {
  const rows = await database.query<{ id: Id }>({
    name: 'find-external-user',
    text: `select id from users where external_id = $1 collate "C" and disabled_at is null and erasing_since is null`,
    values: [externalId],
  })
  return rows[0]?.id
}
