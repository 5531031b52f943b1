/**
 * Inserts users and their sessions directly into a database whose schema a server has created. This
 * is much faster than signing up, which computes a slow password hash. Tests with many users do not
 * test passwords. The cookies are signed with the servers' own secret, so servers accept them.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { makeId } from './make-id.ts'
import type { Databases } from './postgres.ts'

export interface InsertedSession {
  readonly id: string
  /** Value of the session's cookie. */
  readonly cookieValue: string
}

export interface InsertedPerson {
  readonly id: string
  readonly handle: string
  readonly sessions: readonly InsertedSession[]
}

export async function insertPeople(
  databases: Databases,
  databaseUrl: string,
  count: number,
  sessionsEach: number,
): Promise<InsertedPerson[]> {
  const [setting] = await databases.query<{ value: string }>(
    `select value from settings where key = 'cookie-secret'`,
    [],
    databaseUrl,
  )
  if (setting === undefined) throw new Error('unable to sign cookies; the database holds no secret')
  const people = Array.from({ length: count }, (_, index) => ({
    id: makeId(),
    handle: `p${index}-${randomBytes(4).toString('hex')}`,
    sessions: Array.from({ length: sessionsEach }, () => {
      const token = randomBytes(24).toString('base64url')
      return { id: makeId(), token, cookieValue: encodeURIComponent(sign(token, setting.value)) }
    }),
  }))
  await databases.query(
    `insert into users (id, handle, name, password_hash)
     select id, handle, handle, 'none' from unnest($1::uuid[], $2::text[]) as t (id, handle)`,
    [people.map(({ id }) => id), people.map(({ handle }) => handle)],
    databaseUrl,
  )
  const sessions = people.flatMap(({ id, sessions: own }) => own.map((session) => ({ user: id, ...session })))
  await databases.query(
    `insert into sessions (id, user_id, token_hash, expires_at)
     select id, user_id, token_hash, now() + interval '1 day'
       from unnest($1::uuid[], $2::uuid[], $3::bytea[]) as t (id, user_id, token_hash)`,
    [
      sessions.map(({ id }) => id),
      sessions.map(({ user }) => user),
      sessions.map(({ token }) => createHash('sha256').update(token).digest()),
    ],
    databaseUrl,
  )
  return people.map(({ id, handle, sessions: own }) => ({
    id,
    handle,
    sessions: own.map(({ id: session, cookieValue }) => ({ id: session, cookieValue })),
  }))
}

/** Signs a value as servers sign cookies: value, dot, HMAC in base64 without padding. */
function sign(value: string, secret: string): string {
  return `${value}.${createHmac('sha256', secret).update(value).digest('base64').replaceAll('=', '')}`
}
