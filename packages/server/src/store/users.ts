/** Accounts and profiles. Handles are compared without case; what is disabled is as good as absent. */
import type { Id, User } from '@chorus/protocol'
import type { Database } from './database.ts'
import { DatabaseError } from './database-errors.ts'

const profile = 'id, handle, name, avatar'

/** The canary's handles begin with a blank, which nobody can choose: they are nobody to be found. */
const isPerson = "disabled_at is null and handle not like ' %'"

/** Behind every text that begins with a prefix, in the byte order of the prefix indexes. */
const afterPrefix = '\u{10ffff}'

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
  return unlessHandleTaken(async () => {
    const rows = await database.query<User>({
      text: `insert into users (id, handle, name, password_hash) values ($1, $2, $3, $4)
             on conflict (id) do update set id = excluded.id
             returning ${profile}`,
      values: [id, handle, name, passwordHash],
    })
    return rows[0]
  })
}

async function unlessHandleTaken<T>(write: () => Promise<T>): Promise<T | undefined> {
  try {
    return await write()
  } catch (error) {
    if (error instanceof DatabaseError && error.constraint === 'users_handle') return undefined
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
    text: `select ${profile}, password_hash from users where lower(handle) = lower($1) and disabled_at is null`,
    values: [handle],
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
               where lower(handle) ~>=~ lower($1) and lower(handle) ~<~ (lower($1) || $2) and ${isPerson}
               order by lower(handle) using ~<~ limit $3)
             union
             (select ${profile} from users
               where lower(name) ~>=~ lower($1) and lower(name) ~<~ (lower($1) || $2) and ${isPerson}
               order by lower(name) using ~<~ limit $3)
           ) found
           order by lower(handle) using ~<~ limit $3`,
    values: [prefix, afterPrefix, limit],
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
  return rows === undefined ? 'taken' : rows[0]
}
