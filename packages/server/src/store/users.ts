/** Accounts and profiles. Handles are compared without case; what is disabled is as good as absent. */
import type { Id, User } from '@chorus/protocol'
import type { Database } from './database.ts'
import { DatabaseError } from './database-errors.ts'
import { afterPrefix, foldNameOf } from './fold-names.ts'
import { foldHandle, foldHandleSql, foldName } from '../support/fold-text.ts'

const profile = 'id, handle, name, avatar'

/** The canary's handles begin with a blank, which nobody can choose: they are nobody to be found. */
const isPerson = "disabled_at is null and handle not like ' %'"

export interface NewUser {
  readonly id: Id
  readonly handle: string
  readonly name: string
  readonly passwordHash: string
}

/** Undefined when the handle is taken. Running it again with the same id stores nothing more. */
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

/** The second index is of servers before the fold of handles had its own. */
const handleIndexes = ['users_handle_ascii', 'users_handle']

async function unlessHandleTaken<T>(write: () => Promise<T>): Promise<T | undefined> {
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

export async function readUsers(database: Database, ids: readonly Id[]): Promise<User[]> {
  return database.query<User>({
    name: 'read-users',
    text: `select ${profile} from users where id = any ($1::uuid[]) and disabled_at is null`,
    values: [ids],
  })
}

/** People whose handle or name begins with `prefix`, without case, by handle. Reads at most `limit` entries of each index. */
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
  /** Null takes the picture away. */
  readonly avatar?: string | null | undefined
}

/** What is left out stays. `taken`: somebody else has that handle. */
export async function updateProfile(
  database: Database,
  id: Id,
  { handle, name, avatar }: ProfileChange,
): Promise<User | 'taken' | undefined> {
  const rows = await unlessHandleTaken(() =>
    database.query<User>({
      text: `update users
                set handle = coalesce($2, handle), name = coalesce($3, name), avatar = case when $4 then $5 else avatar end
              where id = $1 and disabled_at is null
             returning ${profile}`,
      values: [id, handle ?? null, name ?? null, avatar !== undefined, avatar ?? null],
    }),
  )
  const user = rows?.[0]
  if (user !== undefined && name !== undefined) await foldNameOf(database, id, user.name)
  return rows === undefined ? 'taken' : user
}
