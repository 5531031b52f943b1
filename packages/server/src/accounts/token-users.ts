/**
 * Users of user tokens. They have an external id and no password, so no token names an account of
 * sign-up. An external id is compared byte for byte (collation C).
 */
import type { Id } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { foldNameOf } from './fold-names.ts'
import { unlessHandleTaken } from './users.ts'

const readTimeoutMs = 1_500

/** State of a user that decides whether a token is accepted. */
export interface TokenUserState {
  readonly externalId: string
  /** Undefined: there is no such user. */
  readonly id: Id | undefined
  readonly handle: string
  readonly isDisabled: boolean
  readonly isErasing: boolean
  /** Tokens whose `iat`, in seconds, is at or below this number are refused. */
  readonly tokensAfter: number
  /** Highest `iat` of the accepted tokens. */
  readonly newestToken: number
}

/** Returns the state of each external id, in order. */
export async function readTokenUsers(database: Database, externalIds: readonly string[]): Promise<TokenUserState[]> {
  const rows = await database.query<{
    readonly external_id: string
    readonly id: Id | null
    readonly handle: string | null
    readonly disabled: boolean | null
    readonly erasing: boolean | null
    readonly tokens_after: number
    readonly newest_token: number | null
  }>({
    name: 'read-token-users',
    text: `select t.external_id, u.id, u.handle, u.disabled_at is not null as disabled,
                  u.erasing_since is not null as erasing, u.newest_token,
                  greatest(u.tokens_after, e.tokens_after, 0) as tokens_after
             from unnest($1::text[]) with ordinality t(external_id, i)
             left join users u on u.external_id = t.external_id
             left join erased_external_ids e on e.external_id = t.external_id
            order by t.i`,
    values: [externalIds],
    timeoutMs: readTimeoutMs,
  })
  return rows.map((row) => ({
    externalId: row.external_id,
    id: row.id ?? undefined,
    handle: row.handle ?? '',
    isDisabled: row.disabled === true,
    isErasing: row.erasing === true,
    tokensAfter: row.tokens_after,
    newestToken: row.newest_token ?? 0,
  }))
}

export interface NewTokenUser {
  readonly id: Id
  readonly externalId: string
  readonly handle: string
  readonly name: string
  readonly avatar: string | null
  /** A hash that no password matches. */
  readonly passwordHash: string
  readonly iat: number
}

/**
 * Creates the user of an external id. Does nothing if there is one, or if the token is older than
 * the erasure of the last one. Returns false if the handle is taken.
 */
export async function createTokenUser(database: Database, user: NewTokenUser): Promise<boolean> {
  const { id, externalId, handle, name, avatar, passwordHash, iat } = user
  const rows = await unlessHandleTaken(() =>
    database.query<{ id: Id }>({
      text: `insert into users (id, handle, name, avatar, password_hash, external_id, newest_token)
             select $1, $2, $3, $4, $5, $6, $7
              where not exists (select from erased_external_ids e where e.external_id = $6 and e.tokens_after >= $7)
             on conflict (external_id) where external_id is not null do nothing
             returning id`,
      values: [id, handle, name, avatar, passwordHash, externalId, iat],
    }),
  )
  if (rows?.[0] !== undefined) await foldNameOf(database, id, name)
  return rows !== undefined
}

/** A token that is newer than the ones before, with its profile. */
export interface NewerToken {
  readonly externalId: string
  readonly iat: number
  readonly name: string | undefined
  /** Null removes the avatar. */
  readonly avatar: string | null | undefined
}

/**
 * Notes the highest `iat` of each user, so that the revocation of tokens covers it, and takes over
 * the profile of the newest token. Skips users who do not accept the token any more. External ids
 * are unique in the list. Returns those that were noted.
 */
export async function noteNewerTokens(database: Database, tokens: readonly NewerToken[]): Promise<ReadonlySet<string>> {
  const rows = await database.query<{ external_id: string; id: Id; name: string; renamed: boolean }>({
    name: 'note-newer-tokens',
    text: `update users u
              set newest_token = greatest(u.newest_token, t.iat),
                  name = case when t.iat > u.newest_token then coalesce(t.name, u.name) else u.name end,
                  avatar = case when t.iat > u.newest_token and t.sets_avatar then t.avatar else u.avatar end
             from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::boolean[])
                    t(external_id, iat, name, avatar, sets_avatar)
            where u.external_id = t.external_id and t.iat > u.tokens_after
                  and u.disabled_at is null and u.erasing_since is null
           returning u.external_id, u.id, u.name, t.name is not null as renamed`,
    values: [
      tokens.map(({ externalId }) => externalId),
      tokens.map(({ iat }) => iat),
      tokens.map(({ name }) => name ?? null),
      tokens.map(({ avatar }) => avatar ?? null),
      tokens.map(({ avatar }) => avatar !== undefined),
    ],
  })
  // A server folds what this leaves within ten seconds, so the tokens need not wait for it.
  for (const { id, name, renamed } of rows) if (renamed) void foldNameOf(database, id, name)
  return new Set(rows.map((row) => row.external_id))
}
