/**
 * Reads and writes user accounts and profiles. Handles ignore case. A disabled account is treated
 * as missing.
 */
import type { Id, User } from '@chorus/protocol'
import type { Database } from '../database/database.ts'
import { DatabaseError } from '../database/database-errors.ts'
import { afterPrefix, foldNameOf } from './fold-names.ts'
import { foldHandle, foldHandleSql, foldName } from '../support/fold-text.ts'

const profile = 'id, handle, name, avatar, bot'

/**
 * SQL condition that excludes disabled users and the canary's users from searches. The canary's
 * handles begin with a blank, which users cannot choose.
 */
const isPerson = "disabled_at is null and handle not like ' %'"

export interface NewUser {
  readonly id: Id
  readonly handle: string
  readonly name: string
  readonly passwordHash: string
}

/**
 * Stores a new user. Returns undefined if the handle is taken. A repeated call with the same id
 * stores nothing.
 */
export async function insertUser(
  database: Database,
  { id, handle, name, passwordHash }: NewUser,
): Promise<User | undefined> {
  const user = await unlessHandleTaken(async () => {
    const rows = await database.query<User>({
      text: `insert into users (id, handle, name, password_hash) values ($1, $2, $3, $4)
             on conflict (id) do update set id = excluded.id
             returning ${profile}`,
      values: [id, handle, name, passwordHash],
    })
    return rows[0]
  })
  if (user !== undefined) await foldNameOf(database, user.id, user.name)
  return user
}

/**
 * Names of the unique indexes on handles, to recognise a taken handle by the error of an insert.
 * `users_handle` is the older index, which folds by the database's locale.
 */
const handleIndexes = ['users_handle_ascii', 'users_handle']

/** Runs a write. Returns undefined if it failed because another user has the handle. */
export async function unlessHandleTaken<T>(write: () => Promise<T>): Promise<T | undefined> {
  try {
    return await write()
  } catch (error) {
    if (error instanceof DatabaseError && handleIndexes.includes(error.constraint ?? '')) return undefined
    throw error
  }
}

export interface Credentials {
  readonly user: User
  readonly passwordHash: string
}

export async function findCredentials(database: Database, handle: string): Promise<Credentials | undefined> {
  const rows = await database.query<User & { password_hash: string }>({
    name: 'find-credentials',
    text: `select ${profile}, password_hash from users where ${foldHandleSql('handle')} = $1 and disabled_at is null`,
    values: [foldHandle(handle)],
  })
  const [row] = rows
  if (row === undefined) return undefined
  const { password_hash: passwordHash, ...user } = row
  return { user, passwordHash }
}

/** Returns the users with these ids. An erased user remains, as "Deleted user". */
export async function readUsers(database: Database, ids: readonly Id[]): Promise<User[]> {
  return database.query<User>({
    name: 'read-users',
    text: `select ${profile} from users where id = any ($1::uuid[]) and (disabled_at is null or erased_at is not null)`,
    values: [ids],
  })
}

/**
 * Returns users whose handle or name begins with `prefix`, ignoring case, ordered by handle. Reads
 * at most `limit` entries of each index.
 */
export async function findUsersByPrefix(database: Database, prefix: string, limit: number): Promise<User[]> {
  return database.query<User>({
    name: 'find-users-by-prefix',
    pool: 'search',
    text: `select ${profile} from (
             (select ${profile} from users
               where ${foldHandleSql('handle')} >= $1 and ${foldHandleSql('handle')} < $2 and ${isPerson}
               order by ${foldHandleSql('handle')} limit $3)
             union
             select u.* from (
               select owner from searched_names s
                where not s.is_channel and s.folded >= $4 and s.folded < $5 order by s.folded, s.owner limit $3) named
              cross join lateral (select ${profile} from users p where p.id = named.owner and ${isPerson} limit 1) u
           ) found
           order by ${foldHandleSql('handle')} limit $3`,
    values: [
      foldHandle(prefix),
      foldHandle(prefix) + afterPrefix,
      limit,
      foldName(prefix),
      foldName(prefix) + afterPrefix,
    ],
  })
}

export interface ProfileChange {
  readonly handle?: string | undefined
  readonly name?: string | undefined
  /** Address of the profile picture. Null removes the picture. */
  readonly avatar?: string | null | undefined
}

/**
 * Updates the given fields of a profile and keeps the others. Returns `taken` if another user has
 * the handle.
 */
export async function updateProfile(
  database: Database,
  id: Id,
  { handle, name, avatar }: ProfileChange,
): Promise<User | 'taken' | undefined> {
  const rows = await unlessHandleTaken(() =>
    database.query<User>({
      text: `update users
                set handle = coalesce($2, handle), name = coalesce($3, name), avatar = case when $4 then $5 else avatar end
              where id = $1 and disabled_at is null and erasing_since is null
             returning ${profile}`,
      values: [id, handle ?? null, name ?? null, avatar !== undefined, avatar ?? null],
    }),
  )
  const user = rows?.[0]
  if (user !== undefined && name !== undefined) await foldNameOf(database, id, user.name)
  return rows === undefined ? 'taken' : user
}
